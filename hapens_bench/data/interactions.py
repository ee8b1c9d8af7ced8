"""Logs of interactions, and the split that a protocol makes of one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Ids = NDArray[np.object_]  # of text: what users and items are called in the files


@dataclass(frozen=True)
class Interactions:
    """A log with contiguous ids, one row per interaction, in the order of the source.

    Shape:
        user, item: [N] int64; time: [N] int64 seconds (any monotone unit) or None;
        rating: [N] float64 or None; user_ids: [U], item_ids: [I] text, or None where the ids are
        the numbers.
    """

    user: IntArray
    item: IntArray
    n_users: int
    n_items: int
    time: IntArray | None = None
    rating: NDArray[np.float64] | None = None
    user_ids: Ids | None = None
    item_ids: Ids | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray) -> Interactions:
        """Return the log with the given rows (indices or mask) only; ids and sizes stay."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            time=None if self.time is None else self.time[rows],
            rating=None if self.rating is None else self.rating[rows],
        )


@dataclass(frozen=True)
class Split:
    """The pairs that a trial trains on, chooses its epoch by, and is evaluated on.

    `train`, `valid` and `test` are disjoint. Where a protocol carves the validation part out of the
    published train set, that set is `train` and `valid` together (`full_train`). The stage `held`
    trains without the validation part, the stage `full` on all of `full_train`.

    Shape:
        train, valid, test: [n, 2] int64 rows (user, item), sorted by user, then item, without
        duplicates.
        relevant: [n, 2] every truly relevant pair (only where it is known, for `planted`), or None.
        negatives: [U, C] what each user's held-out item is ranked against (only under candidate
        ranking), or None.
        relabelled: [n, 2] pairs taken out of `train` to be drawn as negatives (only where the
        protocol says so), or None.
        user_ids: [U], item_ids: [I] what they are called in the files, or None where the ids are
        the numbers.
    """

    name: str
    n_users: int
    n_items: int
    train: IntArray
    valid: IntArray
    test: IntArray
    relevant: IntArray | None = None
    negatives: IntArray | None = None
    relabelled: IntArray | None = None
    user_ids: Ids | None = None
    item_ids: Ids | None = None

    def called(self) -> tuple[Ids, Ids]:
        """Return what users and items are called in the files: [U] and [I] texts."""
        return _called(self.user_ids, self.n_users), _called(self.item_ids, self.n_items)

    @cached_property
    def full_train(self) -> IntArray:
        """Train and validation pairs together, sorted."""
        return sort_pairs(np.concatenate([self.train, self.valid]))

    @cached_property
    def data_hash(self) -> str:
        """Sixteen hex digits over the sizes, all pairs and the fixed negatives.

        Equal hashes mean equal splits.
        """
        digest = hashlib.sha256(f"{self.n_users} {self.n_items}".encode())
        arrays = [
            self.train,
            self.valid,
            self.test,
            self.relevant,
            *([] if self.relabelled is None else [self.relabelled]),
        ]
        for pairs in arrays:
            digest.update(
                b"|" if pairs is None else b"|" + np.ascontiguousarray(pairs, dtype="<i8").tobytes()
            )
        digest.update((self.negatives_hash or "").encode())
        return digest.hexdigest()[:16]

    @cached_property
    def negatives_hash(self) -> str | None:
        """Sixteen hex digits over the fixed negatives of all users in order, or None."""
        if self.negatives is None:
            return None
        return hashlib.sha256(
            np.ascontiguousarray(self.negatives, dtype="<i8").tobytes()
        ).hexdigest()[:16]


def _called(ids: Ids | None, n: int) -> Ids:
    return np.array([str(number) for number in range(n)], dtype=object) if ids is None else ids


def without(pairs: IntArray, others: IntArray, n_items: int) -> IntArray:
    """Return the rows (user, item) that are not among the others."""
    codes, known = (rows[:, 0] * n_items + rows[:, 1] for rows in (pairs, others))
    return pairs[~np.isin(codes, known)]


def sort_pairs(pairs: IntArray) -> IntArray:
    """Return the rows (user, item) sorted and without duplicates."""
    pairs = pairs.reshape(-1, 2).astype(np.int64, copy=False)
    user, item = pairs.T
    if ((user[1:] > user[:-1]) | ((user[1:] == user[:-1]) & (item[1:] > item[:-1]))).all():
        return pairs
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), dtype=bool)
    new[1:] = (pairs[1:] != pairs[:-1]).any(1)
    return pairs[new]
