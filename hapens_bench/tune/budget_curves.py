"""What tuning is worth: the expected best of n trials, for every n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import gammaln

from hapens_bench.analysis.figures.layout import (
    entitle,
    finish,
    lines_of,
    looks_of,
    make_panels,
    rows_at,
)

RANDOM, AS_RUN = "random", "as run"  # the order of the trials behind a curve


def weights(N: int) -> np.ndarray:
    r"""Return P(best of n is the k-th smallest of N) = C(k-1, n-1) / C(N, n).

    Shape:
        returns: [N, N], n in row n - 1, k in column k - 1
    """
    n, k = np.arange(1, N + 1)[:, None], np.arange(1, N + 1)[None]
    with np.errstate(divide="ignore"):
        logs = np.where(k >= n, _log_choose(k - 1, n - 1), -np.inf)
    return np.asarray(np.exp(logs - _log_choose(N, n)))


def budget_curve(values: Sequence[float]) -> pd.DataFrame:
    """Return what the best of n trials is worth, n = 1..N, had the N trials come in random order.

    The best of n is distributed as in `weights`. Columns: n, expected, low and high (10% and 90%
    quantiles), order. A missing value, that of a failed trial, counts as 0.
    """
    v = np.sort(np.nan_to_num(np.asarray(values, dtype=float)))
    p = weights(len(v))
    reached = np.cumsum(p, axis=1)
    ends = {
        name: [v[np.searchsorted(row, q - 1e-9)] for row in reached]
        for name, q in (("low", 0.1), ("high", 0.9))
    }
    return pd.DataFrame({"n": np.arange(1, len(v) + 1), "expected": p @ v, **ends, "order": RANDOM})


def running_best(values: Sequence[float]) -> pd.DataFrame:
    """Return the best of the first n trials as they were run, in the columns of `budget_curve`.

    It is the curve of a search whose proposals depend on earlier trials (TPE). Another order would
    be another search, so there is no band.
    """
    best = np.maximum.accumulate(np.nan_to_num(np.asarray(values, dtype=float)))
    columns = {"n": np.arange(1, len(best) + 1), "expected": best, "low": np.nan, "high": np.nan}
    return pd.DataFrame({**columns, "order": AS_RUN})


def budget_curves(frame: pd.DataFrame, in_order: bool = False) -> pd.DataFrame:
    """Return the budget curve of every data set and sampler; `in_order` for TPE."""
    parts = [
        (running_best if in_order else budget_curve)(trials["value"].tolist()).assign(
            dataset=str(dataset), sampler=str(sampler)
        )
        for (dataset, sampler), trials in frame.groupby(["dataset", "sampler"], sort=False)
    ]
    return pd.concat(parts, ignore_index=True)[
        ["dataset", "sampler", "n", "expected", "low", "high", "order"]
    ]


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k + 1, 1e-300))


def draw_budget_curves(frame: pd.DataFrame, monitor: str) -> Figure:
    """Draw what the best of n trials is worth, a panel for each data set.

    The band is from the 10% to the 90% quantile. Curves of trials in the order in which they were
    run are steps, without a band.
    """
    ran = (frame["order"] == AS_RUN).all()
    frame = frame.assign(model="", protocol="", setting="")
    figure, axes = make_panels(frame, {"": f"best validation {monitor}, percent"})
    looks = looks_of(frame)
    for (place, _), axis in axes.items():
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for name, rows in lines_of(rows_at(frame, place)):
            axis.plot(
                rows["n"],
                100 * rows["expected"],
                **looks[name],
                drawstyle="steps-post" if ran else "default",
            )
            axis.fill_between(
                rows["n"],
                100 * rows["low"],
                100 * rows["high"],
                color=looks[name]["color"],
                alpha=0.08,
                lw=0,
            )
    caption = "mean of the best of n trials in random order; band: its 10% to 90% quantile"
    if ran:
        caption = (
            "best of the first n trials as they were proposed, "
            "each in view of those before it: one order, so no band"
        )
    finish(figure, axes, "trials", looks, [caption])
    entitle(figure, "Best of n trials", frame)
    return figure
