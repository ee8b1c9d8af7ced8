"""Is the difference real? Tests over seeds and tests over users, never mixed.

What cannot be tested is said in words, never by a silent "not significant".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES = 4999


@dataclass(frozen=True)
class Paired:
    """The mean difference a - b of n pairs, its 95% t interval, Cohen's d_z, and p-values.

    Over seeds `p` comes from the paired t test, over users from the sign-flip permutation test.
    `p_wilcoxon` (over seeds; exact up to 50 pairs without ties) cannot be below `p_least` =
    2^(1-n). `words` says what could not be computed.
    """

    n: int
    difference: float
    low: float = float("nan")
    high: float = float("nan")
    effect: float = float("nan")
    p: float = float("nan")
    p_wilcoxon: float = float("nan")
    p_least: float = float("nan")
    words: str = ""


def over_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Compare two methods over their common seeds."""
    seeds = sorted(set(a) & set(b))
    difference = np.array([a[s] - b[s] for s in seeds], dtype=float)
    paired = _interval(difference, "seeds")
    if paired.words:
        return paired
    wilcoxon = float(stats.wilcoxon(difference).pvalue)
    p = float(stats.ttest_1samp(difference, 0.0).pvalue)
    return replace(paired, p=p, p_wilcoxon=wilcoxon, p_least=2.0 ** (1 - paired.n))


def over_users(a: pd.Series, b: pd.Series, seed: int = 0) -> Paired:
    """Compare two methods over users (the index); a user's score is the mean over seeds.

    Raises:
        ValueError: when the users differ.
    """
    if not a.index.equals(b.index):
        raise ValueError("the two methods were measured on different users")
    return over_users_together((a - b).to_numpy(dtype=float)[:, None], seed)[0]


def over_users_together(differences: np.ndarray, seed: int = 0) -> list[Paired]:
    """Compare many pairs of methods on the same users at once, with the same flips for all.

    Shape:
        differences: [users, pairs]
    """
    results = [_interval(column, "users") for column in differences.T]
    tested = [k for k, paired in enumerate(results) if not paired.words]
    p_values = _sign_flip(differences[:, tested], np.random.default_rng(seed))
    for k, p in zip(tested, p_values, strict=True):
        results[k] = replace(results[k], p=float(p))
    return results


def _sign_flip(differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each column's two-sided p of mean 0 if every difference is as likely as its opposite.

    scipy's permutation_test does the same, and took 70 times as long for 16,000 users.
    """
    differences = differences[(differences != 0).any(axis=1)]  # a zero is its own opposite
    n, whole = len(differences), differences.sum(axis=0)
    extreme = np.zeros(len(whole), dtype=np.int64)
    for begun in range(0, RESAMPLES, 250):
        size = min(250, RESAMPLES - begun)
        kept = np.unpackbits(
            rng.integers(0, 256, (size, -(-n // 8)), dtype=np.uint8), axis=1, count=n
        )
        sums = 2 * (kept.astype(np.float32) @ differences.astype(np.float32)) - whole
        extreme += (np.abs(sums) >= np.abs(whole) * (1 - 1e-5)).sum(axis=0)
    return (extreme + 1) / (RESAMPLES + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=float)
    valid = np.flatnonzero(~np.isnan(p))
    order = valid[np.argsort(p[valid], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over data sets (1 is best), with Friedman's p.

    `critical` is Nemenyi's critical difference of mean ranks at 5%: q sqrt(k (k + 1) / 6N) with k
    methods, N data sets and q of the studentised range over sqrt 2 (Demsar, JMLR 2006).
    """

    mean: pd.Series
    n: int
    p: float = float("nan")
    critical: float = float("nan")
    words: str = ""

    def cliques(self) -> list[list[str]]:
        """Return the largest groups of methods within the critical difference, by rank.

        Without a critical difference there are none.
        """
        if np.isnan(self.critical):
            return []
        names, ranks = list(self.mean.index), self.mean.to_numpy()
        spans = [
            (i, max(j for j in range(len(names)) if ranks[j] - ranks[i] < self.critical))
            for i in range(len(names))
        ]
        kept = [
            (i, j)
            for i, j in spans
            if j > i and not any(a <= i and j <= b and (a, b) != (i, j) for a, b in spans)
        ]
        return [names[i : j + 1] for i, j in kept]


def friedman(scores: pd.DataFrame) -> Ranks:
    """Rank methods (columns) on every data set (row) and test whether their ranks differ.

    The highest score ranks first; ties share a rank. Data sets that lack a method are left out.
    """
    whole = scores.dropna()
    n, k = whole.shape
    ranks = whole.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    if n < 2 or k < 3:
        return Ranks(
            ranks,
            n,
            words=f"{k} methods on {n} data sets: no test (3 methods on 2 data sets at least)",
        )
    if (whole.nunique(axis=1) == 1).all():
        return Ranks(ranks, n, words="all methods are equal on every data set: no test")
    p = float(stats.friedmanchisquare(*whole.to_numpy().T).pvalue)
    critical = float(
        stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    )
    few = (
        f"{n} data sets are few: only differences of more than {critical:.1f} ranks can be told"
        if n < 6
        else ""
    )
    return Ranks(ranks, n, p, critical, few)


def _interval(difference: np.ndarray, over: str) -> Paired:
    n = len(difference)
    if np.isnan(difference).any():
        return Paired(n, float("nan"), words="a value is missing: no test")
    mean = float(difference.mean()) if n else float("nan")
    if n < 2:
        return Paired(n, mean, words=f"n = {n} {over}: no test")
    if np.ptp(difference) <= 1e-9 * abs(difference).max():  # equal up to rounding
        return Paired(n, mean, words=f"the same difference for all {over}: no test")
    deviation = float(difference.std(ddof=1))
    half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n)
    return Paired(n, mean, mean - half, mean + half, mean / deviation)
