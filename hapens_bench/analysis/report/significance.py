"""Tests over seeds and over users for every pair of the settings to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype

from hapens_bench.analysis.replicates import NOT_BY_USER, Run
from hapens_bench.analysis.report.leaderboard import Setting, compared, metrics_of
from hapens_bench.analysis.statistics import Paired, holm, over_seeds, over_users_together
from hapens_bench.metrics import is_overall
from hapens_bench.runs.archive import open_run
from hapens_bench.runs.files import DamagedRun

UNREADABLE = "a users.parquet cannot be used: no test"


class UserScores:
    """Per-user scores of settings, in percent: read once, averaged over seeds."""

    def __init__(self, skipped: list[str]) -> None:
        self.skipped = skipped
        self._frames: dict[str, pd.DataFrame | None] = {}
        self._means: dict[tuple[Any, ...], pd.DataFrame | None] = {}

    def mean(self, setting: Setting, selection: str, seeds: Sequence[int]) -> pd.DataFrame | None:
        """Return a row per user and a column per metric; None if a file cannot be used."""
        key = (id(setting), selection, tuple(seeds))
        if key not in self._means:
            frames = [self._read(run) for run in setting.runs if run["seed"] in seeds]
            parts = [
                frame[frame["selection"] == selection] for frame in frames if frame is not None
            ]
            whole = len(parts) == len(seeds) and all(map(len, parts))
            self._means[key] = (
                100 * pd.concat(parts).groupby("user").mean(numeric_only=True) if whole else None
            )
        return self._means[key]

    def _read(self, run: Run) -> pd.DataFrame | None:
        folder = run["folder"]
        if folder not in self._frames:
            try:
                frame = open_run(folder).read_frame("users")
                if (
                    "selection" not in frame
                    or "user" not in frame
                    or not is_integer_dtype(frame["user"])
                ):
                    raise DamagedRun("users.parquet lacks the columns of one")
                self._frames[folder] = frame
            except DamagedRun as error:
                self.skipped.append(f"{folder}: {error}")
                self._frames[folder] = None
        return self._frames[folder]

    def forget(self) -> None:
        """Drop everything that was read."""
        self._frames.clear()
        self._means.clear()


def significance(settings: Sequence[Setting], skipped: list[str]) -> list[dict[str, Any]]:
    """Test every pair of settings that `compared` chooses, for each of its groups and metrics.

    Pairs come in the order (0, 1), (0, 2), ... of `settings` in the group. Differences are first
    minus second, in percentage points. p-values are Holm-corrected over the pairs of a group and
    metric.
    """
    users, groups = UserScores(skipped), []
    data = ""
    for (dataset, protocol, _, data_hash, selection), members in sorted(compared(settings).items()):
        if data != data_hash:
            users.forget()
            data = data_hash
        pairs = [(settings[a], settings[b]) for a, b in combinations(members, 2)]
        metrics = metrics_of([settings[k] for k in members])
        over = _over_users(pairs, selection, metrics, users)
        tests = {
            m: _tests(pairs, selection, m, [over[pair, m] for pair in range(len(pairs))])
            for m in metrics
        }
        groups.append(
            {
                "dataset": dataset,
                "protocol": protocol,
                "selection": selection,
                "settings": members,
                "metrics": tests,
            }
        )
    return groups


def _tests(
    pairs: Sequence[tuple[Setting, Setting]], selection: str, metric: str, over: Sequence[Paired]
) -> Any:
    seeds = [
        over_seeds(a.by_seed(selection, metric), b.by_seed(selection, metric)) for a, b in pairs
    ]
    return {
        "difference": [_digits(s.difference) for s in seeds],
        "seeds": [_digits(p) for p in holm([s.p for s in seeds])],
        "seedWords": [s.words for s in seeds],
        "users": [_digits(p) for p in holm([u.p for u in over])],
        "userWords": [u.words for u in over],
    }


def _over_users(
    pairs: Sequence[tuple[Setting, Setting]],
    selection: str,
    metrics: Sequence[str],
    users: UserScores,
) -> dict[tuple[int, str], Paired]:
    """Test pairs over users.

    Pairs with the same users go together, because the flips cost more than the sums.
    """
    results: dict[tuple[int, str], Paired] = {}
    together: dict[tuple[int, ...], dict[tuple[int, str], np.ndarray]] = {}
    for k, (a, b) in enumerate(pairs):
        for metric in metrics:
            seeds = sorted(set(a.by_seed(selection, metric)) & set(b.by_seed(selection, metric)))
            difference, words = _difference(a, b, selection, metric, seeds, users)
            if words:
                results[k, metric] = Paired(0, math.nan, words=words)
            else:
                together.setdefault(difference.shape, {})[k, metric] = difference
    for columns in together.values():
        tested = over_users_together(np.stack(list(columns.values()), axis=1))
        results.update(zip(columns, tested, strict=True))
    return results


def _difference(
    a: Setting, b: Setting, selection: str, metric: str, seeds: Sequence[int], users: UserScores
) -> tuple[np.ndarray, str]:
    """Return each user's difference, or the reason why there is none."""
    nothing = np.empty(0)
    if not seeds:
        return nothing, "n = 0 seeds: no test"
    if is_overall(metric):
        return nothing, NOT_BY_USER
    first, second = users.mean(a, selection, seeds), users.mean(b, selection, seeds)
    if first is None or second is None or metric not in first or metric not in second:
        return nothing, UNREADABLE
    if not first.index.equals(second.index):
        return nothing, "different users: no test"
    return (first[metric] - second[metric]).to_numpy(dtype=float), ""


def _digits(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
