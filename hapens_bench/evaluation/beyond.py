"""Beyond accuracy: which items the ranked lists are made of, and whom the hits serve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hapens_bench.data.interactions import IntArray

GROUPS = ("Head", "Mid", "Tail")
SHARE = 0.2  # of the train interactions: the most popular items that make up so many are the head


class BeyondAccuracy:
    """Measures of all lists of a trial together, all between 0 and 1.

    Coverage@K: the share of items that are in some list. Gini@K: the Gini index of how often each
    item is in one, 0 if all are equally often (Shani and Gunawardana, Recommender Systems Handbook,
    2011). Popularity@K: the mean, over lists and their items, of the share of users who have the
    item in train (Yin et al., PVLDB 2012). Calibration@K: the mean over users of the Jensen-Shannon
    divergence, in bits, between the popularity groups of the list and of the user's train items
    (Abdollahpouri et al., UMAP 2021), whose groups these are: Head, the most popular items with 20%
    of all train interactions; Tail, the least popular with 20%; Mid, the others.
    RecallHead@K, RecallMid@K, RecallTail@K: of the test items of a group, the share in the top K of
    their users; nan without any.
    """

    def __init__(self, train: IntArray, targets: IntArray, n_items: int) -> None:
        users = np.unique(targets[:, 0])  # those who have a list, in its order
        counts = np.bincount(train[:, 1], minlength=n_items)
        self.n_items = n_items
        self.popularity = counts / max(1, len(np.unique(train[:, 0])))
        self.group = popularity_groups(counts)
        row = np.full(int(max(users.max(initial=-1), train[:, 0].max(initial=-1))) + 1, -1)
        row[users] = np.arange(len(users))
        own = train[row[train[:, 0]] >= 0]
        self.profile = _by_group(row[own[:, 0]], self.group[own[:, 1]], len(users))
        self.targets = np.bincount(self.group[targets[:, 1]], minlength=len(GROUPS))

    def measure(self, lists: IntArray, hits: NDArray[np.bool_], K: int) -> dict[str, float]:
        """Return the measures, by name and cut-off.

        Shape:
            lists: [n, >=K] items in rank order, -1 where none is left to rank; hits: [n, >=K].
        """
        lists, hits = lists[:, :K], hits[:, :K]
        listed = lists >= 0
        rows, items = np.nonzero(listed)[0], lists[listed]
        exposure = np.sort(np.bincount(items, minlength=self.n_items))
        rank = np.arange(1, self.n_items + 1)
        total = max(1, exposure.sum())
        found = np.bincount(self.group[lists[hits]], minlength=len(GROUPS))
        measured = {
            "Coverage": np.count_nonzero(exposure) / self.n_items,
            "Gini": float((2 * rank - self.n_items - 1) @ exposure) / (self.n_items * total),
            "Popularity": float(self.popularity[items].mean()) if len(items) else np.nan,
            "Calibration": self._calibration(_by_group(rows, self.group[items], len(lists))),
        }
        for name, hit, of in zip(GROUPS, found, self.targets, strict=True):
            measured[f"Recall{name}"] = hit / of if of else np.nan
        return {f"{name}@{K}": float(value) for name, value in measured.items()}

    def _calibration(self, listed: NDArray[np.int64]) -> float:
        known = (listed.sum(1) > 0) & (self.profile.sum(1) > 0)
        if not known.any():
            return float("nan")
        p, q = (x[known] / x[known].sum(1, keepdims=True) for x in (self.profile, listed))
        middle = (p + q) / 2

        def divergence(x: NDArray[np.float64]) -> NDArray[np.float64]:
            ratio = np.divide(x, middle, out=np.ones_like(x), where=x > 0)
            return np.asarray((x * np.log2(ratio)).sum(1))

        return float(((divergence(p) + divergence(q)) / 2).mean())


def popularity_groups(counts: IntArray) -> NDArray[np.int64]:
    """Return each item's group: 0 for the head, 1 for the middle, 2 for the tail.

    Items of equal popularity are taken in the order of their ids.

    Shape:
        counts: [I] train interactions -> [I].
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    after = counts.sum() - before - counts[order]
    group = np.empty(len(counts), dtype=np.int64)
    group[order] = np.where(
        before < SHARE * counts.sum(), 0, np.where(after < SHARE * counts.sum(), 2, 1)
    )
    return group


def _by_group(rows: IntArray, groups: IntArray, n: int) -> NDArray[np.int64]:
    """Count, for each of n rows, its entries of each group: [n, 3]."""
    size = len(GROUPS)
    return np.bincount(rows * size + groups, minlength=n * size).reshape(n, size)
