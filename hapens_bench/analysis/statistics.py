"""Is the difference real? Over seeds and over users, never mixed; what cannot be tested is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES = 4999


@dataclass(frozen=True)
class Paired:
    """The mean difference a - b of n pairs, its 95% t interval, Cohen's d_z, and p-values; `words` says what could not be computed.

    `p` is of the paired t test over seeds, of the sign-flip permutation test over users. `p_wilcoxon` (over seeds; exact up to 50
    pairs without ties) cannot be below `p_least` = 2^(1-n).
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
    """Compare two methods over the seeds that both were run with."""
    seeds = sorted(set(a) & set(b))
    difference = np.array([a[s] - b[s] for s in seeds], dtype=float)
    found = _interval(difference, "seeds")
    if found.words:
        return found
    wilcoxon = stats.wilcoxon(difference)
    p = stats.ttest_1samp(difference, 0.0).pvalue
    return _with(found, p=float(p), p_wilcoxon=float(wilcoxon.pvalue), p_least=2.0 ** (1 - found.n))


def over_users(a: pd.Series, b: pd.Series, seed: int = 0) -> Paired:
    """Compare two methods over users (index: user), each user's score being the mean over seeds.

    Raises:
        ValueError: when the users differ.
    """
    if not a.index.equals(b.index):
        raise ValueError("the two methods were measured on different users")
    return over_users_together((a - b).to_numpy(dtype=float)[:, None], seed)[0]


def over_users_together(differences: np.ndarray, seed: int = 0) -> list[Paired]:
    """Compare many pairs of methods on the same users at once, a column of differences each; the same flips serve all of them."""
    found = [_interval(column, "users") for column in differences.T]
    tested = [k for k, one in enumerate(found) if not one.words]
    p_values = _sign_flip(differences[:, tested], np.random.default_rng(seed))
    for k, p in zip(tested, p_values, strict=True):
        found[k] = _with(found[k], p=float(p))
    return found


def _sign_flip(differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give, for each column, the two-sided p of mean 0 when every difference is as likely as its opposite.

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
    """Mean ranks of methods over data sets (1 is best), Friedman's p, and Nemenyi's critical difference of mean ranks at 5%.

    CD = q sqrt(k (k + 1) / 6N) with k methods, N data sets and q of the studentised range over sqrt 2 (Demsar, JMLR 2006).
    """

    mean: pd.Series
    n: int
    p: float = float("nan")
    critical: float = float("nan")
    words: str = ""

    def cliques(self) -> list[list[str]]:
        """Give the largest groups of methods, in the order of their ranks, within the critical difference; none without one."""
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
    """Rank methods (columns) on every data set (row), the highest score first, ties sharing a rank; test whether ranks differ.

    Data sets that lack a method are left out.
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


def _with(found: Paired, **values: float) -> Paired:
    return Paired(**{**vars(found), **values})
