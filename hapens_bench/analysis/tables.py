"""A paper's table, beside ours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.analysis.cells import Cell, Run, fill, read_definition
from hapens_bench.analysis.comparisons import orders, orders_markdown, tests, tests_markdown
from hapens_bench.analysis.provenance import provenance
from hapens_bench.analysis.writers import notes, to_latex, to_markdown
from hapens_bench.errors import UserError

COLUMNS = ["dataset", "model", "sampler", "metric", "selection", "n", "mean", "std", "paper", "delta_pct", "converged"]


@dataclass(frozen=True)
class Written:
    """What `write_table` wrote, for the screen: the table's lines, and Kendall's tau of its orders."""

    title: str
    header: list[str]
    lines: list[list[str]]
    orders: pd.DataFrame


def long_table(definition: Mapping[str, Any], filled: Sequence[Cell]) -> pd.DataFrame:
    """Summarise the runs of each cell, a row for each metric and selection.

    Values are in the paper's unit (percent); std is the sample standard deviation over seeds, empty for n = 1.
    delta_pct = 100 (mean - paper) / paper. `converged` is false where a run's best epoch was its last.
    """
    rows = []
    for cell in filled:
        for k, metric in enumerate(definition["metrics"]):
            paper = definition["paper"][cell.dataset][cell.sampler][k]
            for selection in definition["selections"]:
                reports = [run["selection"][selection] for run in cell.runs if selection in run["selection"]]
                if not reports:
                    continue
                values = pd.Series([100 * report["test"][metric] for report in reports])
                mean = values.mean()
                rows.append(
                    dict(
                        dataset=cell.dataset,
                        model=definition["model"],
                        sampler=cell.sampler,
                        metric=metric,
                        selection=selection,
                        n=len(values),
                        mean=mean,
                        std=values.std() if len(values) > 1 else math.nan,
                        paper=paper,
                        delta_pct=100 * (mean - paper) / paper,
                        converged=all(report["converged"] for report in reports),
                    )
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def wide_rows(definition: Mapping[str, Any], table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Lay the long table out for reading: a line for each data set, sampler and selection.

    Cells without a run are dashes; `!` marks means over runs of which one was best in its last epoch (not converged).
    """
    metrics = definition["metrics"]
    header = ["dataset", "sampler", "selection", "n"]
    header += [f"{metric} {what}" for metric in metrics for what in ("paper", "ours", "Δ%")]
    indexed = {(r.dataset, r.sampler, r.selection, r.metric): r for r in table.itertuples(index=False)}
    lines = []
    for dataset, papers in definition["paper"].items():
        for sampler in definition["samplers"]:
            for selection in definition["selections"]:
                line = [dataset, sampler, selection]
                first: Any = indexed.get((dataset, sampler, selection, metrics[0]))
                line.append(str(first.n) if first else "0")
                for k, metric in enumerate(metrics):
                    row: Any = indexed.get((dataset, sampler, selection, metric))
                    ours = "–"
                    if row:
                        spread = "" if math.isnan(row.std) else f" ± {row.std:.2f}"
                        ours = f"{row.mean:.2f}{spread}" + ("" if row.converged else " !")
                    line += [f"{papers[sampler][k]:.2f}", ours, f"{row.delta_pct:+.1f}" if row else "–"]
                lines.append(line)
    return header, lines


def write_table(name: str, runs: Sequence[Run], out: Path) -> Written:
    """Write <out>/<name>.{csv,md,tex,provenance.json} and, of the tests, <name>_tests.csv.

    Raises:
        UserError: when no run belongs to the table.
    """
    definition = read_definition(name)
    filled = fill(definition, runs)
    used = [run for cell in filled for run in cell.runs]
    if not used:
        raise UserError(
            f"no finished run belongs to table {name!r}; conf/table/{name}.yaml holds the command that makes them"
        )
    origin = json.dumps(provenance(used), indent=1) + "\n"  # before any file is written: it notes a changed checkout
    table = long_table(definition, filled)
    header, lines = wide_rows(definition, table)
    order, tested = orders(table), tests(definition, filled)
    below = [*notes(filled, definition["seeds"]), "", *orders_markdown(order)]
    below += tests_markdown(tested, definition["honest_selection"])
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / f"{name}.csv", index=False)
    tested.to_csv(out / f"{name}_tests.csv", index=False, float_format="%.6g")
    (out / f"{name}.md").write_text(to_markdown(definition["title"], header, lines, below), encoding="utf-8")
    (out / f"{name}.tex").write_text(to_latex(definition["title"], header, lines), encoding="utf-8")
    (out / f"{name}.provenance.json").write_text(origin, encoding="utf-8")
    return Written(definition["title"], header, lines, order)
