"""A paper's table beside ours."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.analysis.formats import Entry, Line, to_latex, to_markdown
from hapens_bench.analysis.replicates import Standing, standing
from hapens_bench.analysis.result import Content, write_result
from hapens_bench.analysis.tables import across
from hapens_bench.analysis.tables.comparisons import orders, orders_markdown, tests, tests_markdown
from hapens_bench.analysis.tables.definition import Cell, Run, fill, read_definition
from hapens_bench.analysis.tables.marks import show
from hapens_bench.analysis.tables.origin import LOST, LOST_NOTE, commits, lost_rows, source
from hapens_bench.config.quoting import hapens_command
from hapens_bench.errors import UserError
from hapens_bench.launch.results import uncaptured

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
    "source",
    "commits",
]


CAPTION = (
    "Percent, mean ± standard deviation over n seeds. Bold: the best of a data set and selection; "
    "underlined: the second. † (‡): the best beats every other at 5% over seeds (users), "
    "Holm-corrected. !: the best epoch of a run was its last."
)
NOTES = [
    "Percent, mean ± standard deviation over n seeds. `test_peak` is the best epoch on test, "
    "trained on all of train (what some authors' code reports); `valid` is the best epoch on a "
    "held-out validation part, trained on the rest; `valid_refit` is that epoch, trained on all of "
    "train. Bold: the best of a data set and selection; underlined: the second. †: the best beats "
    "every other at 5% over seeds (paired t test, Holm-corrected); ‡: the same over users "
    "(sign-flip permutation test on each user's mean over the seeds, Holm-corrected); n = 1: no "
    "test over seeds. `!`: the best epoch of a run was its last (not converged).",
]
FROM = "`from`: the archive that holds the runs, and at how many commits they were trained."


@dataclass(frozen=True)
class Written:
    """What `write_filled` wrote: lines, orders and tests, and the cells behind them."""

    definition: Mapping[str, Any]
    filled: Sequence[Cell]
    header: list[str]
    lines: list[Line]
    orders: pd.DataFrame
    tests: pd.DataFrame


def long_table(definition: Mapping[str, Any], filled: Sequence[Cell]) -> pd.DataFrame:
    """Summarise the runs of each cell, a row for each metric and selection.

    Values are in percent; std is the sample standard deviation over seeds, empty for n = 1.
    delta_pct = 100 (mean - paper) / paper; both are empty where the paper printed no numbers.
    `converged` is false where a run's best epoch was its last. `source` says which archives hold
    the runs, and `commits` at how many commits they were trained. A table with columns for data
    sets (`across`) has `seconds`, the median over the runs of what a training took.
    """
    paper, rows = definition.get("paper"), []
    for cell in filled:
        for k, metric in enumerate(definition["metrics"]):
            printed = paper[cell.dataset][cell.sampler][k] if paper else math.nan
            for selection in definition["selections"]:
                reports = [
                    run["selection"][selection]
                    for run in cell.runs
                    if metric in run["selection"].get(selection, {"test": {}})["test"]
                ]
                if not reports:
                    continue
                values = pd.Series([100 * report["test"][metric] for report in reports])
                mean = values.mean()
                rows.append(
                    dict(
                        dataset=cell.dataset,
                        model=cell.runs[0]["model"],
                        sampler=cell.sampler,
                        metric=metric,
                        selection=selection,
                        n=len(values),
                        mean=mean,
                        std=values.std() if len(values) > 1 else math.nan,
                        paper=printed,
                        delta_pct=100 * (mean - printed) / printed,
                        converged=all(report["converged"] for report in reports),
                        source=source(cell.runs),
                        commits=commits(cell.runs),
                        seconds=_seconds(cell.runs),
                    )
                )
    return pd.DataFrame(rows, columns=[*COLUMNS, "seconds"] if "across" in definition else COLUMNS)


def _seconds(runs: Sequence[Run]) -> float:
    return float(pd.Series([run.get("train_seconds") for run in runs], dtype=float).median())


def wide_rows(
    definition: Mapping[str, Any], filled: Sequence[Cell], table: pd.DataFrame
) -> tuple[list[str], list[Line]]:
    """Lay the long table out for reading: a line for each data set, sampler and selection.

    One more line for each data set and selection sets the best against the second; the paper's
    gain there is over the same samplers. Cells without a run are dashes. Without printed numbers
    each metric has one column instead of paper, ours and Δ%. `NOTES` explains the marks.
    """
    paper, metrics = definition.get("paper"), definition["metrics"]
    header = ["dataset", "sampler", "selection", "n", "from"]
    for metric in metrics:
        header += [f"{metric} paper", f"{metric} ours", f"{metric} Δ%"] if paper else [metric]
    keys = ("dataset", "sampler", "selection", "metric")
    rows = {tuple(row[key] for key in keys): row for row in table.to_dict("records")}
    lines: list[Line] = []
    for dataset, selection in product(definition["datasets"], definition["selections"]):
        settings = {cell.sampler: cell for cell in filled if cell.dataset == dataset}
        best = {metric: standing(settings, selection, metric) for metric in metrics}
        for sampler in definition["samplers"]:
            first = rows.get((dataset, sampler, selection, metrics[0]))
            line: list[str | Entry] = [dataset, sampler, selection, str(first["n"] if first else 0)]
            line.append(_origin(first))
            for k, metric in enumerate(metrics):
                row = rows.get((dataset, sampler, selection, metric))
                ours: str | Entry = _shown(row, best[metric]) if row else "–"
                delta = f"{row['delta_pct']:+.1f}" if row else "–"
                line += [f"{paper[dataset][sampler][k]:.2f}", ours, delta] if paper else [ours]
            lines.append(line)
        gains = [place.gain if place else math.nan for place in best.values()]
        if all(map(math.isnan, gains)):
            continue
        line = [dataset, "best against second", selection, "", ""]
        for k, gain in enumerate(gains):
            ours = "–" if math.isnan(gain) else f"{gain:+.1f} %"
            line += [_printed_gain(paper[dataset], settings, k), ours, ""] if paper else [ours]
        lines.append(line)
    return header, lines


def _printed_gain(paper: Mapping[str, Any], settings: Mapping[str, Cell], k: int) -> str:
    """Return the paper's gain of its best over its second; ours may be other methods."""
    printed = sorted(paper[name][k] for name, cell in settings.items() if cell.runs)
    second, first = printed[-2:]
    return f"{100 * (first - second) / second:+.1f} %"


def _origin(row: Mapping[Hashable, Any] | None) -> str:
    if row is None:
        return "–"
    if row["source"] == LOST:
        return LOST
    return f"{row['source']}, {row['commits']:.0f} commit{'s' if row['commits'] > 1 else ''}"


def _shown(row: Mapping[Hashable, Any], best: Standing | None) -> Entry:
    if row["source"] == LOST:
        best = None
    return show(row["mean"], row["std"], row["converged"], row["sampler"], best)


def in_order(definition: Mapping[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a long table in the order of the definition."""
    names = ("datasets", "samplers", "metrics", "selections")
    columns = ["dataset", "sampler", "metric", "selection"]
    ranks = [
        table[column].map({value: k for k, value in enumerate(definition[name])})
        for column, name in zip(columns, names, strict=True)
    ]
    order = pd.concat(ranks, axis=1).sort_values(columns, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def missing(filled: Sequence[Cell], seeds: int, queue: str | None = None) -> list[str]:
    """Return Markdown lines with the command of every cell that has not been run.

    Where a queue file has the commands, it is named instead.
    """
    commands = [
        hapens_command("train", "-m", *c.overrides, f"seed=range({seeds})")
        for c in filled
        if not c.runs
    ]
    if commands and queue:
        return ["", f"Not run yet: {len(commands)} of {len(filled)} cells; `{queue}` has them all."]
    return ["", "Not run yet:", "", "```", *commands, "```"] if commands else []


def write_table(name: str, runs: Sequence[Run], out: Path, lost: bool = False) -> Written:
    """Write <out>/<name>.{csv,md,tex,provenance.json} and the tests, <name>_tests.csv.

    With `lost`, cells without a run show the numbers of lost runs, marked as such.

    Raises:
        UserError: when no run belongs to the table.
    """
    definition = read_definition(name)
    # composing the cells takes seconds
    filled = fill(definition, runs) if runs or lost else []
    unarchived = lost_rows(name, filled) if lost else pd.DataFrame()
    if not any(cell.runs for cell in filled) and unarchived.empty:
        raise UserError(
            f"no finished run belongs to table {name!r}; "
            f"conf/table/{name}.yaml holds the command that makes them"
        )
    more = missing(filled, definition["seeds"], definition.get("queue"))
    return write_filled(definition, filled, out / name, more, unarchived=unarchived)


def write_filled(
    definition: Mapping[str, Any],
    filled: Sequence[Cell],
    stem: Path,
    more: Sequence[str],
    shown: Sequence[str] | None = None,
    beside: Mapping[str, Content] | None = None,
    unarchived: pd.DataFrame | None = None,
) -> Written:
    """Write <stem>.{csv,md,tex,provenance.json} and the tests, <stem>_tests.csv.

    `more` are lines for the notes of the Markdown. `shown` are the selections that have lines in
    Markdown and LaTeX (default: all); the CSV files have all. `beside` are further contents, by
    ending, and `unarchived` rows of lost runs.
    """
    used = [run for cell in filled for run in cell.runs]
    table = long_table(definition, filled)
    order, tested = orders(table), tests(definition, filled)
    lost = unarchived is not None and not unarchived.empty
    if lost:
        table = in_order(definition, pd.concat([table, unarchived], ignore_index=True))
    wide = {**definition, "selections": definition["selections"] if shown is None else shown}
    lay_out, n_names, more_notes = (
        (across.rows, across.N_NAMES, across.NOTE)
        if "across" in definition
        else (wide_rows, 5, FROM)
    )
    header, lines = lay_out(wide, filled, table)
    below = [
        *NOTES,
        more_notes,
        *([LOST_NOTE] if lost else []),
        *(["Δ% is relative to the paper."] if "paper" in definition else []),
        *([definition["note"]] if "note" in definition else []),
        *uncaptured(used),
        *more,
        "",
        *(
            [*across.more_metrics(definition, filled, table), *across.leads(definition, tested)]
            if "across" in definition
            else [*orders_markdown(order), *tests_markdown(tested, definition["honest_selection"])]
        ),
    ]
    contents: dict[str, Content] = {
        ".csv": table.round(4).to_csv(index=False),
        ".md": to_markdown(definition["title"], header, lines, below),
        ".tex": to_latex(stem.name, f"{definition['title']}. {CAPTION}", header, lines, n_names),
        **(beside or {}),
    }
    if len(tested):
        contents["_tests.csv"] = tested
    write_result(stem, used, contents)
    return Written(definition, filled, header, lines, order, tested)
