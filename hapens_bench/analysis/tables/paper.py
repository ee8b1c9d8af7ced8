"""A paper's table, beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.analysis.formats import Entry, Line, to_latex, to_markdown
from hapens_bench.analysis.replicates import Standing, standing
from hapens_bench.analysis.tables.comparisons import orders, orders_markdown, tests, tests_markdown
from hapens_bench.analysis.tables.definition import Cell, Run, fill, read_definition
from hapens_bench.errors import UserError
from hapens_bench.launch.results import uncaptured
from hapens_bench.runs.provenance import provenance

LEVEL = 0.05
COLUMNS = [
    "dataset",
    "model",
    "sampler",
    "metric",
    "selection",
    "n",
    "mean",
    "std",
    "paper",
    "delta_pct",
    "converged",
]


NOTES = [
    "Percent, mean ± standard deviation over n seeds. `test_peak` is the best epoch on test, trained on all of train (what some "
    "authors' code reports); `valid` is the best epoch on a held-out validation part, trained on the rest; `valid_refit` is "
    "that epoch, trained on all of train. Bold: the best of a data set and selection; underlined: the second. †: the best beats "
    "every other at 5% over seeds (paired t test, Holm-corrected); ‡: over users (sign-flip permutation test on each user's mean "
    "over the seeds, Holm-corrected); n = 1: no test over seeds. `!`: a run was best in its last epoch (not converged).",
]


@dataclass(frozen=True)
class Written:
    """What `write_table` wrote, for the screen: the table's lines, and Kendall's tau of its orders; and what it was made of."""

    definition: Mapping[str, Any]
    filled: Sequence[Cell]
    header: list[str]
    lines: list[Line]
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
                reports = [
                    run["selection"][selection]
                    for run in cell.runs
                    if selection in run["selection"]
                ]
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


def wide_rows(
    definition: Mapping[str, Any], filled: Sequence[Cell], table: pd.DataFrame
) -> tuple[list[str], list[Line]]:
    """Lay the long table out for reading: a line for each data set, sampler and selection, and one for the best against the second.

    That line has the paper's gain, over the same samplers, beside ours. Cells without a run are dashes. What the marks mean is said
    in `notes`.
    """
    header = ["dataset", "sampler", "selection", "n"]
    header += [
        f"{metric} {what}" for metric in definition["metrics"] for what in ("paper", "ours", "Δ%")
    ]
    indexed = {
        (r.dataset, r.sampler, r.selection, r.metric): r for r in table.itertuples(index=False)
    }
    lines: list[Line] = []
    for dataset, papers in definition["paper"].items():
        settings = {cell.sampler: cell for cell in filled if cell.dataset == dataset}
        for selection in definition["selections"]:
            best = {
                metric: standing(settings, selection, metric) for metric in definition["metrics"]
            }
            for sampler in definition["samplers"]:
                first: Any = indexed.get((dataset, sampler, selection, definition["metrics"][0]))
                line: list[str | Entry] = [
                    dataset,
                    sampler,
                    selection,
                    str(first.n) if first else "0",
                ]
                for k, metric in enumerate(definition["metrics"]):
                    row: Any = indexed.get((dataset, sampler, selection, metric))
                    ours = (
                        show(row.mean, row.std, row.converged, sampler, best[metric])
                        if row
                        else "–"
                    )
                    line += [
                        f"{papers[sampler][k]:.2f}",
                        ours,
                        f"{row.delta_pct:+.1f}" if row else "–",
                    ]
                lines.append(line)
            gains = [one.gain if one else math.nan for one in best.values()]
            if not all(map(math.isnan, gains)):
                line = [
                    dataset,
                    "best against second",
                    selection,
                    "",
                ]  # who is best may differ between paper and ours
                for k, gain in enumerate(gains):
                    second, first = sorted(
                        papers[name][k] for name, cell in settings.items() if cell.runs
                    )[-2:]
                    ours = "–" if math.isnan(gain) else f"{gain:+.1f} %"
                    line += [f"{100 * (first - second) / second:+.1f} %", ours, ""]
                lines.append(line)
    return header, lines


def without_paper(header: list[str], lines: list[Line]) -> tuple[list[str], list[Line]]:
    """Drop the columns of a table that no paper has printed numbers for."""
    kept = [k for k, name in enumerate(header) if not name.endswith((" paper", " Δ%"))]
    return [header[k].removesuffix(" ours") for k in kept], [
        [line[k] for k in kept] for line in lines
    ]


def show(mean: float, std: float, converged: bool, name: str, best: Standing | None) -> Entry:
    """Write a mean with its marks."""
    text = (
        f"{mean:.2f}" + ("" if math.isnan(std) else f" ± {std:.2f}") + ("" if converged else " !")
    )
    if best is None or best.second is None or name not in (best.best, best.second):
        return Entry(text)
    if name == best.second:
        return Entry(text, place=2)
    return Entry(
        text + ("†" if best.seeds < LEVEL else "") + ("‡" if best.users < LEVEL else ""), place=1
    )


def missing(filled: Sequence[Cell], seeds: int) -> list[str]:
    """Give the command of every cell that has not been run, as Markdown."""
    commands = [
        f"python -m hapens_bench -m {' '.join(c.overrides)} 'seed=range({seeds})'"
        for c in filled
        if not c.runs
    ]
    return ["", "Not run yet:", "", "```", *commands, "```"] if commands else []


def write_table(name: str, runs: Sequence[Run], out: Path) -> Written:
    """Write <out>/<name>.{csv,md,tex,provenance.json} and, of the tests, <name>_tests.csv.

    Raises:
        UserError: when no run belongs to the table.
    """
    definition = read_definition(name)
    filled = fill(definition, runs) if runs else []  # composing the cells takes seconds
    used = [run for cell in filled for run in cell.runs]
    if not used:
        raise UserError(
            f"no finished run belongs to table {name!r}; conf/table/{name}.yaml holds the command that makes them"
        )
    origin = provenance(used, [f"{name}{end}" for end in (".csv", ".md", ".tex", "_tests.csv")])
    table = long_table(definition, filled)
    header, lines = wide_rows(definition, filled, table)
    order, tested = orders(table), tests(definition, filled)
    said = [
        *NOTES,
        "Δ% is relative to the paper.",
        *([definition["note"]] if "note" in definition else []),
    ]
    if table["paper"].isna().all():
        header, lines = without_paper(header, lines)
        said.remove("Δ% is relative to the paper.")
    below = [
        *said,
        *uncaptured(used),
        *missing(filled, definition["seeds"]),
        "",
        *orders_markdown(order),
    ]
    below += tests_markdown(tested, definition["honest_selection"])
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / f"{name}.csv", index=False)
    tested.to_csv(out / f"{name}_tests.csv", index=False, float_format="%.6g")
    (out / f"{name}.md").write_text(
        to_markdown(definition["title"], header, lines, below), encoding="utf-8"
    )
    (out / f"{name}.tex").write_text(
        to_latex(definition["title"], header, lines, n_names=3), encoding="utf-8"
    )
    (out / f"{name}.provenance.json").write_text(origin, encoding="utf-8")
    return Written(definition, filled, header, lines, order)
