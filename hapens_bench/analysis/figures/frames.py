"""The numbers of a figure, as a frame; scores are in percent.

Every frame names its lines by dataset, model, protocol, sampler and setting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hapens_bench.analysis.figures.lines import KEYS, PLACE, Definition, Line
from hapens_bench.analysis.query import Finished, as_number
from hapens_bench.config.components import component_class
from hapens_bench.config.dotted import look_up
from hapens_bench.errors import UserError

Found = tuple[pd.DataFrame, list[str]]  # the numbers, and notes for the user
LOW, HIGH = 0.1, 0.9  # of every quantile band
VALIDATION = "validation"  # a panel of the best monitored value on the validation part


def usable(definition: Definition, runs: Sequence[Finished]) -> tuple[list[Finished], list[str]]:
    """Keep the runs that have the stage, the selection and (for a grid) the two keys of a figure.

    Raises:
        UserError: when no run has them.
    """
    kept, notes = list(runs), []
    for key in ("stage", "selection"):
        wanted = definition.get(key)
        if wanted is None:
            continue
        there = [
            set(run.history["stage"]) if key == "stage" else set(run.summary["selection"])
            for run in kept
        ]
        left = [run for run, has in zip(kept, there, strict=True) if wanted in has]
        if not left:
            others = sorted(set.union(*there))
            word = "--stage " if key == "stage" else "--where selection="
            raise UserError(
                f"none of the {len(kept)} runs has {key} {wanted}; "
                f"they have {' and '.join(others)}: add {word}{others[0]}"
            )
        if len(left) < len(kept):
            notes.append(
                f"{len(kept) - len(left)} of {len(kept)} runs have no {key} {wanted} "
                "and are left out"
            )
        kept = left
    if definition["kind"] == "grid":
        keys = [definition["x"], definition["y"]]
        left = [run for run in kept if all(look_up(run.config, key) is not ... for key in keys)]
        if not left:
            raise UserError(
                f"none of the {len(kept)} runs has {' and '.join(keys)}; see --where sampler=..."
            )
        notes += (
            [f"{len(kept) - len(left)} runs have no {' and '.join(keys)} and are left out"]
            if left != kept
            else []
        )
        kept = left
    return kept, notes


def pool_key(definition: Definition, run: Finished) -> str:
    """Return the dotted key of a figure's x: its own, else the pool size of a run's sampler."""
    return definition.get("x") or f"sampler.{component_class(run.config['sampler']).pool_key}"


def curves(definition: Definition, lines: Sequence[Line]) -> Found:
    """Tabulate the panels' columns over epochs: the mean and a band.

    The band is over seeds or, with `band: negatives`, over an epoch's negatives. A line ends where
    the first of its seeds stopped: means over fewer and fewer seeds would jump.
    """
    parts, notes, of_seeds = [], [], definition["band"] == "seeds"
    for panel in definition["panels"]:
        rows = []
        for line in lines:
            for run in line.runs:
                history = _epochs(run, definition.get("stage"))
                if panel not in history:
                    continue
                values = {
                    "value": history[panel],
                    "low": history.get(f"{panel}_q10"),
                    "high": history.get(f"{panel}_q90"),
                }
                points = history[["stage", "epoch"]].assign(**values).dropna(subset="value")
                rows.append(points.assign(**line.columns, panel=panel))
        logged = pd.concat(rows) if rows else pd.DataFrame()
        if logged.empty:
            notes.append(f"none of the runs has logged {panel}, so its panel is left out")
            continue
        stages = sorted(logged["stage"].unique())
        if len(stages) > 1:
            raise UserError(
                f"{panel} is logged in the stages {' and '.join(stages)}; choose one with --stage"
            )
        scale = 100 if panel.startswith(("valid/", "test/")) or panel.endswith("_rate") else 1
        groups = logged.groupby([*KEYS, "panel", "epoch"], sort=False)
        value = groups["value"]
        low, high = (
            (value.quantile(LOW), value.quantile(HIGH))
            if of_seeds
            else (groups["low"].mean(), groups["high"].mean())
        )
        numbers = {
            "mean": scale * value.mean(),
            "low": scale * low,
            "high": scale * high,
            "n": value.size(),
        }
        common, lost = _of_all_seeds(pd.DataFrame(numbers).reset_index(), lines, panel)
        parts.append(common)
        notes += lost
    return _some(pd.concat(parts) if parts else pd.DataFrame(), definition["panels"]), notes


def phase(definition: Definition, lines: Sequence[Line]) -> Found:
    """Tabulate two columns of the history against each other by epoch, averaged over seeds.

    The metric is the one that the stage measures: on validation for `held`, which trains without
    the validation part, and on test for `full`, which trains on all of train.
    """
    measured_on = {"held": "valid", "full": "test"}[definition["stage"]]
    x, y, rows = definition["x"], f"{measured_on}/{definition['metric']}", []
    for line in lines:
        for run in line.runs:
            history = _epochs(run, definition["stage"])
            if {x, y} <= set(history):
                points = pd.DataFrame(
                    {"epoch": history["epoch"], "x": history[x], "y": 100 * history[y]}
                ).dropna()
                rows.append(points.assign(**line.columns))
    both = _some(pd.concat(rows) if rows else pd.DataFrame(), [x, y])
    groups = both.groupby([*KEYS, "epoch"], sort=False)
    frame = groups.agg(x=("x", "mean"), y=("y", "mean"), n=("x", "size")).reset_index()
    common, notes = _of_all_seeds(frame, lines, y)
    return _some(common, [f"{y} in an epoch that all seeds reached"]), notes


def bars(definition: Definition, lines: Sequence[Line]) -> Found:
    """Tabulate the seconds of epochs without evaluation: median, band, and ratio to the base.

    The band is a quantile range over epochs; the ratio is between medians.

    Raises:
        UserError: when no run can be timed, or the base has no or several settings.
    """
    rows, untimed = [], []
    for line in lines:
        parts = []
        for run in line.runs:
            history, shared = _epochs(run, definition["stage"]), run.history["pack_size"].max()
            seconds = history.loc[~history["evaluated"].astype(bool), "seconds"]
            reason = (
                f"trained in a pack of {shared}" if shared > 1 else "evaluated after every epoch"
            )
            if shared > 1 or seconds.empty:
                untimed.append(f"{run.folder.path} was {reason}, so its epochs cannot be timed")
            else:
                parts.append(seconds)
        if parts:
            seconds = pd.concat(parts)
            band = {"low": seconds.quantile(LOW), "high": seconds.quantile(HIGH), "n": len(parts)}
            rows.append({**line.columns, "seconds": seconds.median(), **band})
    if not rows:
        raise UserError(f"no run can be timed: {untimed[0]}")
    frame, base = pd.DataFrame(rows), definition["base"]
    for (dataset, *_), here in frame.groupby(PLACE, sort=False):
        settings = list(here.loc[here["sampler"] == base, "setting"])
        if len(settings) != 1:
            there = f"there are {' and '.join(settings)}" if settings else "none of it was timed"
            raise UserError(
                f"times on {dataset} are relative to one setting of {base}, "
                f"and {there}; see --where"
            )
    unit = frame[frame["sampler"] == base].set_index(PLACE)["seconds"]
    frame["ratio"] = frame["seconds"] / unit.loc[pd.MultiIndex.from_frame(frame[PLACE])].to_numpy()
    return frame, untimed


def grid(definition: Definition, lines: Sequence[Line]) -> Found:
    """Tabulate a reported metric over two config keys, as x and y.

    Raises:
        UserError: when a key holds no number, or no run has the metric.
    """
    rows = []
    for line in lines:
        points = []
        for run in line.runs:
            place = {axis: as_number(look_up(run.config, definition[axis])) for axis in "xy"}
            if None in place.values():
                raise UserError(
                    f"{run.folder.path}: {definition['x']} and {definition['y']} "
                    "are not both numbers"
                )
            if value := _reported(run, definition, definition["metric"]):
                points.append({**line.columns, **place, **value})
        rows += sorted(points, key=lambda row: (row["x"], row["y"]))
    frame = _some(pd.DataFrame(rows), [definition[key] for key in ("x", "y", "metric")])
    groups = frame.groupby([*KEYS, "x", "y"], sort=False)
    return groups.agg(
        value=("value", "mean"), converged=("converged", "all"), n=("value", "size")
    ).reset_index(), []


def pool(definition: Definition, lines: Sequence[Line]) -> Found:
    """Tabulate reported metrics over x: the figure's own key, or the sampler's pool size.

    x is missing where a sampler has no pool.
    """
    rows: list[dict[str, Any]] = []
    notes = []
    for panel in definition["panels"]:
        before = len(rows)
        for line in lines:
            points = []
            for run in line.runs:
                key = pool_key(definition, run)
                size, value = look_up(run.config, key), _reported(run, definition, panel)
                x = {"key": key.rpartition(".")[2], "x": math.nan if size is ... else float(size)}
                points += [{**line.columns, "panel": panel, **x, **value}] if value else []
            rows += sorted(points, key=lambda row: row["x"])
        if len(rows) == before:
            notes.append(f"none of the runs reports {panel}, so its panel is left out")
    frame = _some(pd.DataFrame(rows), definition["panels"])
    groups = frame.groupby([*KEYS, "panel", "key", "x"], sort=False, dropna=False)
    summary = groups["value"].agg(
        mean="mean", low=lambda v: v.quantile(LOW), high=lambda v: v.quantile(HIGH), n="size"
    )
    return summary.assign(converged=groups["converged"].all()).reset_index(), notes


def _epochs(run: Finished, stage: str | None) -> pd.DataFrame:
    return run.history if stage is None else run.history[run.history["stage"] == stage]


def _reported(run: Finished, definition: Definition, metric: str) -> dict[str, Any]:
    """Return a run's value of a metric in percent, and `converged`; empty without a value."""
    report = run.summary["selection"][definition["selection"]]
    value = run.summary.get("validation") if metric == VALIDATION else report["test"].get(metric)
    return {} if value is None else {"value": 100 * value, "converged": bool(report["converged"])}


def _of_all_seeds(frame: pd.DataFrame, lines: Sequence[Line], what: str) -> Found:
    """Keep the epochs that all seeds of a line reached; note the lines without any."""
    seeds = {tuple(line.columns.values()): len(line.runs) for line in lines}
    names = frame[KEYS].apply(tuple, axis=1)
    kept = frame[names.map(seeds) == frame["n"]]
    lost = dict.fromkeys(name for name in names if name not in set(names[kept.index]))
    return kept, [
        f"{' '.join(name).strip()}: its seeds have no epoch with {what} in common" for name in lost
    ]


def _some(frame: pd.DataFrame, what: Sequence[str]) -> pd.DataFrame:
    """Return the frame.

    Raises:
        UserError: when it is empty.
    """
    if frame.empty:
        raise UserError(f"none of the runs has {' or '.join(what)}, so there is nothing to draw")
    return frame
