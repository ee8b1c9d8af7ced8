"""A table with a row for each method, by group, and columns for each data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hapens_bench.analysis.formats import Entry, Line, markdown_rows
from hapens_bench.analysis.replicates import standing
from hapens_bench.analysis.tables.definition import Cell
from hapens_bench.analysis.tables.marks import LEVEL, show

N_NAMES = 3  # columns that hold text: group, method, n
NOTE = (
    "seconds: the median over the seeds of what a training took, with its search for the epoch and "
    "its evaluations, on one thread of whatever else the machine had to do then; trainings that "
    "shared a pack each count their part."
)


def rows(
    definition: Mapping[str, Any],
    filled: Sequence[Cell],
    table: pd.DataFrame,
    metric: str | None = None,
) -> tuple[list[str], list[Line]]:
    """Lay one metric of a long table (None: the first) out: methods by group, a column a data set.

    Beside each score stand the seconds of a training where the long table has them. Data sets
    without any run are left out, and so are the marks of the best two where only one method ran.
    """
    selection, timed = definition["honest_selection"], "seconds" in table
    metric = metric or definition["metrics"][0]
    wanted = table[(table["metric"] == metric) & (table["selection"] == selection)]
    cells = {(row["dataset"], row["sampler"]): row for row in wanted.to_dict("records")}
    datasets = [name for name in definition["datasets"] if (wanted["dataset"] == name).any()]
    header = ["group", "method", "n"]
    for dataset in datasets:
        header += [f"{dataset} {metric}", *([f"{dataset} seconds"] if timed else [])]
    best = {
        dataset: standing(
            {cell.sampler: cell for cell in filled if cell.dataset == dataset}, selection, metric
        )
        for dataset in datasets
    }
    lines: list[Line] = []
    for group, names in _groups(definition).items():
        for name in names:
            here = {dataset: cells.get((dataset, name)) for dataset in datasets}
            line: list[str | Entry] = [group, name, _counts(here.values())]
            for dataset, row in here.items():
                if row is None:
                    line += ["–"] * (1 + timed)
                    continue
                line.append(show(row["mean"], row["std"], row["converged"], name, best[dataset]))
                line += [_seconds(row["seconds"])] if timed else []
            lines.append(line)
    return header, lines


def more_metrics(
    definition: Mapping[str, Any], filled: Sequence[Cell], table: pd.DataFrame
) -> list[str]:
    """Return Markdown lines with a table for each metric after the first, without seconds."""
    lines = []
    untimed = table.drop(columns="seconds", errors="ignore")
    for metric in definition["metrics"][1:]:
        if (table["metric"] == metric).any():
            laid_out = rows(definition, filled, untimed, metric)
            lines += [f"## {metric}", "", *markdown_rows(*laid_out), ""]
    return lines


def leads(definition: Mapping[str, Any], tested: pd.DataFrame) -> list[str]:
    """Return Markdown lines of the tests of the first metric: a table for each method compared.

    A row is another method, and an entry its lead over the compared one.
    """
    lines = []
    if tested.empty:
        return []
    metric, selection = definition["metrics"][0], definition["honest_selection"]
    wanted = tested[(tested["metric"] == metric) & (tested["selection"] == selection)]
    for mine, own in wanted.groupby("sampler", sort=False):
        datasets = list(own["dataset"].unique())
        entries = {(r["dataset"], r["against"]): _lead(r) for r in own.to_dict("records")}
        against = [name for name in definition["samplers"] if name in set(own["against"])]
        body = [[name, *(entries.get((d, name), "–") for d in datasets)] for name in against]
        lines += [
            f"## What each method adds to {mine}: {metric}",
            "",
            f"Percentage points, less {mine} on the same seeds. † (‡): p < 5% over seeds (users), "
            "paired t test (sign-flip permutation test on each user's mean over those seeds), "
            "Holm-corrected over the methods of a data set. Intervals, other metrics and all "
            "p-values are in the CSV of tests.",
            "",
            *markdown_rows(["method", *datasets], body),
            "",
        ]
    return lines


def _groups(definition: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    return definition.get("groups") or {"": list(definition["samplers"])}


def _counts(found: Iterable[Mapping[Any, Any] | None]) -> str:
    counts = sorted({row["n"] for row in found if row is not None})
    return "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"


def _seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _lead(row: Mapping[Any, Any]) -> str:
    marks = ("†" if row["p_t_holm"] < LEVEL else "") + ("‡" if row["p_users_holm"] < LEVEL else "")
    return f"{-row['difference']:+.2f}{marks}"
