"""A paper's table, beside ours."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.config import compose_config, conf_dir, config_id
from hapens_bench.errors import UserError
from hapens_bench.launch.run import git_sha, versions

COLUMNS = ["dataset", "model", "sampler", "metric", "selection", "n", "mean", "std", "paper", "delta_pct"]


@dataclass(frozen=True)
class Cell:
    """One data set x sampler of a table: how it is run, and which runs are its replicates."""

    dataset: str
    sampler: str
    overrides: list[str]
    config_id: str


def read_definition(name: str) -> dict[str, Any]:
    """Read conf/table/<name>.yaml.

    Raises:
        UserError: when there is no such table.
    """
    path = conf_dir() / "table" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"there is no table {name!r}; choose one of {known}")
    definition = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(definition, dict)
    return {str(k): v for k, v in definition.items()}


def cells(definition: Mapping[str, Any]) -> list[Cell]:
    """Compose the config of every cell, so that runs are matched by identity and never by a label."""
    found = []
    for dataset in definition["paper"]:
        for sampler, overrides in definition["samplers"].items():
            full = [f"dataset={dataset}", *overrides, *definition["overrides"]]
            found.append(Cell(dataset, sampler, full, config_id(compose_config(full))))
    return found


def long_table(
    definition: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, list[Mapping[str, Any]], list[Cell]]:
    """Summarise the runs of each cell, a row for each metric and selection; give the runs used and the cells without one too.

    Values are in the paper's unit (percent); std is the sample standard deviation over seeds, empty for n = 1.
    delta_pct = 100 (mean - paper) / paper.

    Raises:
        UserError: when the runs of a cell were made on different data.
    """
    rows, used, missing = [], [], []
    for cell in cells(definition):
        mine = [run for run in runs if run["config_id"] == cell.config_id]
        used += mine
        if not mine:
            missing.append(cell)
        hashes = sorted({run["data_hash"] for run in mine})
        if len(hashes) > 1:
            raise UserError(
                f"the runs of {cell.sampler} on {cell.dataset} were made on different data ({', '.join(hashes)}); "
                "move the run folders of one of them away"
            )
        for k, metric in enumerate(definition["metrics"]):
            paper = definition["paper"][cell.dataset][cell.sampler][k]
            for selection in definition["selections"]:
                reports = [run["selection"][selection] for run in mine if selection in run["selection"]]
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
    return pd.DataFrame(rows, columns=[*COLUMNS, "converged"]), used, missing


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


def to_markdown(title: str, header: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Write a Markdown table."""
    rows = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)]
    return "\n".join([f"# {title}", "", *rows, "", *notes, ""])


def to_latex(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a LaTeX table for the booktabs package."""
    swaps = {"%": r"\%", "_": r"\_", "±": r"$\pm$", "–": "--", "Δ": r"$\Delta$", "&": r"\&", "#": r"\#"}

    def row(line: Sequence[str]) -> str:
        return " & ".join("".join(swaps.get(c, c) for c in text) for text in line) + r" \\"

    columns = "lll" + "r" * (len(header) - 3)
    body = [row(header), r"\midrule", *map(row, lines)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{''.join(swaps.get(c, c) for c in title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def notes(missing: Sequence[Cell], seeds: int) -> list[str]:
    """Say how to read the table, and give the command of every cell that has not been run."""
    lines = [
        "Percent, mean ± standard deviation over n seeds. `test_peak` is the best epoch on test, trained on all of train (what the "
        "authors' code reports); `valid` is the best epoch on a held-out 10% of train, trained on the other 90%; `valid_refit` is "
        "that epoch, trained on all of train. `!`: a run was best in its last epoch (not converged). Δ% is relative to the paper.",
    ]
    if missing:
        lines += ["", "Not run yet:", "", "```"]
        lines += [f"python -m hapens_bench -m {' '.join(c.overrides)} 'seed=range({seeds})'" for c in missing]
        lines += ["```"]
    return lines


def provenance(used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say where a table's numbers come from."""
    return {
        "command": " ".join(["hapens", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_sha": git_sha(),
        "git_sha_of_runs": sorted({run["git_sha"] for run in used}),
        "versions": versions(),
        "data_hashes": {run["dataset"]: run["data_hash"] for run in used},
        "seeds": sorted({run["seed"] for run in used}),
        "runs": [
            {key: run[key] for key in ("run_id", "config_id", "dataset", "model", "sampler", "seed")} for run in used
        ],
    }


def write_table(name: str, runs: Sequence[Mapping[str, Any]], out: Path) -> tuple[str, list[str], list[list[str]]]:
    """Write <out>/<name>.{csv,md,tex,provenance.json}; give the title, header and lines for the screen.

    Raises:
        UserError: when no run belongs to the table.
    """
    definition = read_definition(name)
    table, used, missing = long_table(definition, runs)
    if not used:
        raise UserError(f"no finished run belongs to table {name!r}; scripts/reproduce/{name}.sh holds its commands")
    origin = json.dumps(provenance(used), indent=1) + "\n"  # before any file is written: it notes a changed checkout
    header, lines = wide_rows(definition, table)
    markdown = to_markdown(definition["title"], header, lines, notes(missing, definition["seeds"]))
    out.mkdir(parents=True, exist_ok=True)
    table[COLUMNS].round(4).to_csv(out / f"{name}.csv", index=False)
    (out / f"{name}.md").write_text(markdown, encoding="utf-8")
    (out / f"{name}.tex").write_text(to_latex(definition["title"], header, lines), encoding="utf-8")
    (out / f"{name}.provenance.json").write_text(origin, encoding="utf-8")
    return definition["title"], header, lines
