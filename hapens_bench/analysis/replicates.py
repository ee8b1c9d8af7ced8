"""The runs of one setting with different seeds; which setting is best, and how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hapens_bench.analysis.statistics import Paired, holm, over_seeds, over_users
from hapens_bench.metrics import is_overall, less_is_better
from hapens_bench.runs.archive import open_run

Run = Mapping[str, Any]
NOT_BY_USER = "users: a measure of all lists together"


@dataclass
class Replicates:
    """Finished runs that differ in nothing but the seed; scores are in percent."""

    runs: list[Run]
    _users: dict[int, pd.DataFrame] = field(default_factory=dict, repr=False)

    def reports(self, selection: str) -> list[Mapping[str, Any]]:
        """Return the report of each run under a selection."""
        return [run["selection"][selection] for run in self.runs if selection in run["selection"]]

    def by_seed(self, selection: str, metric: str) -> dict[int, float]:
        """Return the test score of each seed; nan where the run recorded no number."""
        reports = [(run["seed"], run["selection"].get(selection)) for run in self.runs]
        scores = {
            seed: report["test"][metric]
            for seed, report in reports
            if report and metric in report["test"]
        }
        return {
            seed: 100 * float("nan" if value is None else value) for seed, value in scores.items()
        }

    def summary(self, selection: str, metric: str) -> dict[str, Any] | None:
        """Return n, mean, sample deviation (nan for n = 1), converged; None without scores."""
        scores = list(self.by_seed(selection, metric).values())
        if not scores:
            return None
        return {
            "n": len(scores),
            "mean": float(np.mean(scores)),
            "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"),
            "converged": all(report["converged"] for report in self.reports(selection)),
        }

    def by_user(self, selection: str, metric: str, seeds: Sequence[int]) -> pd.Series:
        """Return each user's test score, averaged over seeds."""
        if not self._users:
            for run in self.runs:
                self._users[run["seed"]] = (
                    open_run(run["folder"]).read_frame("users").set_index("user")
                )
        parts = [
            frame.loc[frame["selection"] == selection, metric]
            for frame in map(self._users.__getitem__, seeds)
        ]
        return 100 * pd.concat(parts, axis=1).mean(axis=1)


def common_seeds(a: Replicates, b: Replicates, selection: str, metric: str) -> list[int]:
    """Return the seeds for which both settings have a score."""
    return sorted(set(a.by_seed(selection, metric)) & set(b.by_seed(selection, metric)))


def compare(a: Replicates, b: Replicates, selection: str, metric: str) -> tuple[Paired, Paired]:
    """Test two settings on their common seeds: over seeds and, where users have one, over users."""
    ours, theirs = a.by_seed(selection, metric), b.by_seed(selection, metric)
    common = common_seeds(a, b, selection, metric)
    seeds = over_seeds(ours, theirs)
    if not common:
        return seeds, Paired(0, float("nan"), words=seeds.words)
    if is_overall(metric):
        return seeds, Paired(0, float("nan"), words=NOT_BY_USER)
    return seeds, over_users(
        a.by_user(selection, metric, common), b.by_user(selection, metric, common)
    )


@dataclass(frozen=True)
class Contrast:
    """A setting's paired tests against another one.

    `p_seeds` and `p_users` are Holm-corrected over all contrasts that were made together.
    """

    seeds: Paired
    users: Paired
    p_seeds: float
    p_users: float


def contrasts(
    mine: Replicates, others: Mapping[str, Replicates], selection: str, metric: str
) -> dict[str, Contrast]:
    """Compare a setting with each of the others, with Holm's correction over them."""
    pairs = {name: compare(mine, other, selection, metric) for name, other in others.items()}
    p_seeds = holm([seeds.p for seeds, _ in pairs.values()])
    p_users = holm([users.p for _, users in pairs.values()])
    return {
        name: Contrast(seeds, users, *corrected)
        for (name, (seeds, users)), *corrected in zip(pairs.items(), p_seeds, p_users, strict=True)
    }


@dataclass(frozen=True)
class Standing:
    """The best setting, the second, and whether the best beats every other one.

    `gain` is the lead over the second, in percent of the second. `seeds` and `users` are the
    largest Holm-corrected p-values of the best against the others; where there was no test they
    are nan and `words` says why.
    """

    best: str
    second: str | None
    gain: float
    seeds: float
    users: float
    words: str


def standing(settings: Mapping[str, Replicates], selection: str, metric: str) -> Standing | None:
    """Rank settings by their mean over seeds and test the best against each of the others.

    Return None where no setting was run.
    """
    scores = {name: setting.by_seed(selection, metric) for name, setting in settings.items()}
    means = {name: sum(seeds.values()) / len(seeds) for name, seeds in scores.items() if seeds}
    if not means:
        return None
    first, *rest = sorted(means, key=means.__getitem__, reverse=not less_is_better(metric))
    if not rest:
        return Standing(
            first, None, float("nan"), float("nan"), float("nan"), "nothing to compare with"
        )
    others = {name: settings[name] for name in rest}
    tests = contrasts(settings[first], others, selection, metric).values()
    words = dict.fromkeys(
        words for test in tests for words in (test.seeds.words, test.users.words) if words
    )
    p_seeds = max((test.p_seeds for test in tests), key=_nan_first)
    p_users = max((test.p_users for test in tests), key=_nan_first)
    runner_up = means[rest[0]]
    gain = 100 * (means[first] - runner_up) / runner_up if runner_up else float("nan")
    return Standing(first, rest[0], gain, p_seeds, p_users, "; ".join(words))


def _nan_first(p: float) -> float:
    return float("inf") if p != p else p
