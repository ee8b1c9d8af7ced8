"""The runs of one setting with different seeds, and which of several settings is best, how surely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.analysis.statistics import Paired, holm, over_seeds, over_users
from hapens_bench.runs.folder import RunFolder

Run = Mapping[str, Any]


@dataclass
class Replicates:
    """Finished runs that differ in nothing but the seed; scores are in percent."""

    runs: list[Run]
    _users: dict[int, pd.DataFrame] = field(default_factory=dict, repr=False)

    def reports(self, selection: str) -> list[Mapping[str, Any]]:
        """Give what each run reports under a selection."""
        return [run["selection"][selection] for run in self.runs if selection in run["selection"]]

    def by_seed(self, selection: str, metric: str) -> dict[int, float]:
        """Give the test score of each seed; nan where the run wrote that it is none."""
        reports = [(run["seed"], run["selection"].get(selection)) for run in self.runs]
        found = {
            seed: report["test"][metric]
            for seed, report in reports
            if report and metric in report["test"]
        }
        return {
            seed: 100 * float("nan" if value is None else value) for seed, value in found.items()
        }

    def by_user(self, selection: str, metric: str, seeds: Sequence[int]) -> pd.Series:
        """Give each user's test score as the mean over seeds."""
        if not self._users:
            for run in self.runs:
                self._users[run["seed"]] = (
                    RunFolder(Path(run["folder"])).read_frame("users").set_index("user")
                )
        parts = [
            frame.loc[frame["selection"] == selection, metric]
            for frame in map(self._users.__getitem__, seeds)
        ]
        return 100 * pd.concat(parts, axis=1).mean(axis=1)


def common_seeds(a: Replicates, b: Replicates, selection: str, metric: str) -> list[int]:
    """Give the seeds that both settings have a score of."""
    return sorted(set(a.by_seed(selection, metric)) & set(b.by_seed(selection, metric)))


def compare(a: Replicates, b: Replicates, selection: str, metric: str) -> tuple[Paired, Paired]:
    """Compare two settings over the seeds that both have: over seeds, and over users."""
    ours, theirs = a.by_seed(selection, metric), b.by_seed(selection, metric)
    common = common_seeds(a, b, selection, metric)
    seeds = over_seeds(ours, theirs)
    if not common:
        return seeds, Paired(0, float("nan"), words=seeds.words)
    return seeds, over_users(
        a.by_user(selection, metric, common), b.by_user(selection, metric, common)
    )


@dataclass(frozen=True)
class Standing:
    """Who is best and second, by how much (`gain`, percent of the second), and whether the best beats every other one.

    `seeds` and `users` are the largest Holm-corrected p-values of the best against the others; nan where there was no test, and
    `words` then says why.
    """

    best: str
    second: str | None
    gain: float
    seeds: float
    users: float
    words: str


def standing(settings: Mapping[str, Replicates], selection: str, metric: str) -> Standing | None:
    """Rank settings by their mean over seeds and test the best against each of the others; None where none was run."""
    scores = {name: one.by_seed(selection, metric) for name, one in settings.items()}
    means = {name: sum(found.values()) / len(found) for name, found in scores.items() if found}
    if not means:
        return None
    first, *rest = sorted(means, key=lambda name: -means[name])
    if not rest:
        return Standing(
            first, None, float("nan"), float("nan"), float("nan"), "nothing to compare with"
        )
    pairs = [compare(settings[first], settings[name], selection, metric) for name in rest]
    words = "; ".join(dict.fromkeys(test.words for pair in pairs for test in pair if test.words))
    p_seeds, p_users = (max(holm([pair[k].p for pair in pairs]), key=_nan_first) for k in (0, 1))
    runner_up = means[rest[0]]
    gain = 100 * (means[first] - runner_up) / runner_up if runner_up else float("nan")
    return Standing(first, rest[0], gain, p_seeds, p_users, words)


def _nan_first(p: float) -> float:
    return float("inf") if p != p else p
