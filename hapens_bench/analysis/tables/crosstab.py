"""A table of whatever has been run: rows and columns by name, cells with mean and marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hapens_bench.analysis.formats import Entry, Line, to_latex, to_markdown
from hapens_bench.analysis.replicates import Replicates, Run, standing
from hapens_bench.analysis.result import Content, write_result
from hapens_bench.analysis.tables.marks import show
from hapens_bench.analysis.tables.origin import commits, source
from hapens_bench.analysis.tables.paper import CAPTION, NOTES
from hapens_bench.errors import UserError
from hapens_bench.launch.results import uncaptured

# What rows and columns may go by; columns also by metric and selection.
NAMES = ("dataset", "protocol", "model", "sampler")


@dataclass(frozen=True)
class Layout:
    """What a table shows: rows by one name, columns by the product of several."""

    rows: str
    columns: Sequence[str]
    selections: Sequence[str]
    metrics: Sequence[str]

    def check(self) -> None:
        """Refuse names that rows or columns cannot go by.

        Raises:
            UserError: with one sentence.
        """
        if self.rows not in NAMES:
            raise UserError(f"--rows is {self.rows!r}, but rows go by {', '.join(NAMES)}")
        known = (*NAMES, "metric", "selection")
        wrong = [name for name in self.columns if name not in known or name == self.rows]
        if wrong or len(set(self.columns)) < len(self.columns):
            allowed = ", ".join(name for name in known if name != self.rows)
            raise UserError(
                f"--cols is {','.join(self.columns)!r}, but columns go by {allowed}, each once"
            )


@dataclass(frozen=True)
class Crosstab:
    """A table of run folders, for the screen and for files."""

    header: list[str]
    lines: list[Line]
    long: pd.DataFrame
    used: list[Run]


def crosstab(layout: Layout, runs: Sequence[Run]) -> Crosstab:
    """Fill a layout from finished runs.

    Where a cell has several settings (config ids), it shows the one with the best mean validation
    value: a choice that never looks at test. Bold, underline and daggers are per column.

    Raises:
        UserError: when nothing was run, a cell's setting cannot be chosen, or its runs were made on
            different data.
    """
    layout.check()
    places = [name for name in layout.columns if name in NAMES]
    metrics = layout.metrics or _some_metrics(runs)
    settings: dict[tuple[str, ...], dict[str, Replicates]] = {}
    members: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        members.setdefault(tuple(run[name] for name in (*places, layout.rows)), []).append(run)
    for cell, replicates in members.items():
        settings.setdefault(cell[:-1], {})[cell[-1]] = _choose(cell, replicates)
    columns = [
        {**dict(zip(places, place, strict=True)), "metric": metric, "selection": selection}
        for place in settings
        for selection in layout.selections
        for metric in metrics
    ]
    columns.sort(
        key=lambda column: [
            _rank(column, name, layout.selections, metrics) for name in layout.columns
        ]
    )
    counts = {"metric": len(metrics), "selection": len(layout.selections)}
    named = [
        *layout.columns,
        *(name for name in counts if counts[name] > 1 and name not in layout.columns),
    ]
    names = sorted({name for place in settings.values() for name in place})
    body: dict[str, list[Entry | str]] = {name: [] for name in names}
    header, gains, long = [], [], []
    for column in columns:
        rows = settings[tuple(column[name] for name in places)]
        best = standing(rows, column["selection"], column["metric"])
        if best is None:
            continue
        header.append(" ".join(column[name] for name in named))
        for name in names:
            row = _summarise(rows.get(name), column)
            body[name].append(
                "–" if row is None else show(row["mean"], row["std"], row["converged"], name, best)
            )
            if row is not None:
                long.append({layout.rows: name, **column, **row})
        gains.append("–" if math.isnan(best.gain) else f"{best.gain:+.1f} %")
    if not header:
        raise UserError(
            f"no finished run reports {', '.join(layout.selections)} "
            f"of {', '.join(metrics) or 'any metric'}"
        )
    lines: list[Line] = [[name, *body[name]] for name in names]
    if len(names) > 1:
        lines.append(["best against second", *gains])
    used = [
        run
        for place in settings.values()
        for replicates in place.values()
        for run in replicates.runs
    ]
    return Crosstab([layout.rows, *header], lines, pd.DataFrame(long), used)


def write_crosstab(layout: Layout, runs: Sequence[Run], out: Path, name: str) -> Crosstab:
    """Write <out>/<name>.{csv,md,tex,provenance.json}.

    Raises:
        UserError: as `crosstab`.
    """
    table = crosstab(layout, runs)
    title = f"{layout.rows} by {', '.join(layout.columns)}"
    notes = [*NOTES, *uncaptured(table.used)]
    notes.append(f"Runs: {len(table.used)} ({source(table.used)}), {commits(table.used)} commits.")
    contents: dict[str, Content] = {
        ".csv": table.long,
        ".md": to_markdown(title, table.header, table.lines, notes),
        ".tex": to_latex(name, f"{title}. {CAPTION}", table.header, table.lines, n_names=1),
    }
    write_result(out / name, table.used, contents)
    return table


def _choose(cell: Sequence[str], runs: list[Run]) -> Replicates:
    """Return the runs of the setting that is best on validation."""
    where = " ".join(cell)
    if len({run["data_hash"] for run in runs}) > 1:
        raise UserError(
            f"the runs of {where} were made on different data or splits; choose some with --where"
        )
    by_setting: dict[str, list[Run]] = {}
    for run in runs:
        by_setting.setdefault(run["config_id"], []).append(run)
    if len(by_setting) == 1:
        return Replicates(runs)
    values = {
        name: [run.get("validation") for run in members] for name, members in by_setting.items()
    }
    if any(value is None for members in values.values() for value in members):
        raise UserError(
            f"{where} was run in {len(by_setting)} settings, "
            "and without a validation value none can be chosen; choose with --where"
        )
    return Replicates(
        by_setting[max(values, key=lambda name: np.mean(np.array(values[name], dtype=float)))]
    )


def _summarise(setting: Replicates | None, column: Mapping[str, str]) -> dict[str, Any] | None:
    summary = setting.summary(column["selection"], column["metric"]) if setting else None
    if setting is None or summary is None:
        return None
    origin = {"source": source(setting.runs), "commits": commits(setting.runs)}
    return {**summary, "config_id": setting.runs[0]["config_id"], **origin}


def _some_metrics(runs: Sequence[Run]) -> list[str]:
    names = [
        metric for run in runs for report in run["selection"].values() for metric in report["test"]
    ]
    return list(dict.fromkeys(names))[:3]


def _rank(
    column: Mapping[str, str], name: str, selections: Sequence[str], metrics: Sequence[str]
) -> tuple[int, str]:
    """Order columns: selections and metrics as they were asked for, everything else by name."""
    order = {"selection": selections, "metric": metrics}.get(name)
    return (list(order).index(column[name]), "") if order else (0, column[name])
