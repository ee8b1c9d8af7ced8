"""The curves of a setting: metrics and hardness over epochs, with mean and range over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from hapens_bench.analysis.replicates import Run
from hapens_bench.analysis.report.leaderboard import Setting
from hapens_bench.runs.archive import open_run
from hapens_bench.runs.files import DamagedRun

HARDNESS = ("ratio", "percentile", "sigmoid", "false_negative_rate")
# What a stage is measured on: `held` trains without the validation part, `full` on all of train.
MEASURED_ON = {"held": "valid/", "full": "test/"}
POINTS = 100  # of a curve, at most


def curves(setting: Setting, metrics: Sequence[str], skipped: list[str]) -> dict[str, Any]:
    """Average the histories of a setting's runs, for each stage: metrics in percent, and hardness.

    A curve ends where its first seed stopped, as in the figures. Histories that cannot be read are
    added to `skipped`.
    """
    histories = []
    for run in setting.runs:
        try:
            histories.append(_history(run).assign(folder=run["folder"]))
        except DamagedRun as error:
            skipped.append(f"{run['folder']}: {error}")
    if not histories:
        return {}
    together = pd.concat(histories, ignore_index=True)
    stages = {}
    for stage, prefix in MEASURED_ON.items():
        epochs = together[together["stage"] == stage]
        scores = {f"{prefix}{metric}": metric for metric in metrics}
        hardness = {f"hardness/{name}": name for name in HARDNESS}
        if len(epochs):
            stages[stage] = {
                "metrics": _average(epochs, scores, 100.0),
                "hardness": _average(epochs, hardness, 1.0),
            }
    return stages


def _history(run: Run) -> pd.DataFrame:
    frame = open_run(run["folder"]).read_frame("history")
    missing = [name for name in ("epoch", "stage") if name not in frame]
    if missing or not is_integer_dtype(frame["epoch"]):
        raise DamagedRun(f"history.parquet has no usable {', '.join(missing) or 'epoch'}")
    return frame


def _average(epochs: pd.DataFrame, columns: Mapping[str, str], scale: float) -> dict[str, Any]:
    """Return the epochs in which all seeds have a value, and each column's curves.

    They are the mean and, with several seeds, the least and the largest value.
    """
    present = [name for name in columns if name in epochs and is_float_dtype(epochs[name])]
    values = epochs[present].where(np.isfinite(epochs[present])).dropna(how="all") * scale
    groups, seeds = values.groupby(epochs["epoch"]), epochs["folder"].nunique()
    whole = groups.size() == seeds
    mean, low, high = (frame[whole] for frame in (groups.mean(), groups.min(), groups.max()))
    step = max(1, math.ceil(len(mean) / POINTS))
    return {
        "epoch": mean.index[::step].tolist(),
        "curves": {
            columns[name]: [
                _short(frame[name].iloc[::step])
                for frame in ((mean, low, high) if seeds > 1 else (mean,))
            ]
            for name in present
        },
    }


def _short(values: pd.Series) -> list[float | None]:
    """Return the values with five digits, None for missing ones."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]
