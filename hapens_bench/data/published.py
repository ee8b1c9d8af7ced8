"""Splits that were published with the data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hapens_bench.data.interactions import Ids, IntArray, Interactions, sort_pairs
from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")


@dataclass(frozen=True)
class Published:
    """A split that was published with the data; `readers.KINDS` has its kind for each reader.

    Shape:
        train, test: [n, 2] rows (user, item); valid: the same, or None where there is none.
        negatives: [U, C] what each user's held-out items are ranked against, or None where
        nothing was published.
        user_ids: [U], item_ids: [I] text, or None where the ids are the numbers.
    """

    train: IntArray
    test: IntArray
    n_users: int
    n_items: int
    valid: IntArray | None = None
    negatives: IntArray | None = None
    user_ids: Ids | None = None
    item_ids: Ids | None = None

    def as_log(self) -> Interactions:
        """Return all pairs as one log."""
        pairs = np.concatenate(
            [self.train, self.test] + ([] if self.valid is None else [self.valid])
        )
        return Interactions(
            pairs[:, 0],
            pairs[:, 1],
            self.n_users,
            self.n_items,
            user_ids=self.user_ids,
            item_ids=self.item_ids,
        )

    @property
    def pairs_sha256(self) -> str:
        """Digest of the train and test pairs, whatever their order in the files."""
        digest = hashlib.sha256(f"{self.n_users} {self.n_items}".encode())
        for pairs in (self.train, self.test):
            digest.update(b"|" + np.ascontiguousarray(sort_pairs(pairs), dtype="<i8").tobytes())
        return digest.hexdigest()


def published(
    paths: Mapping[str, Path], train: IntArray, test: IntArray, valid: IntArray | None = None
) -> Published:
    """Return a split whose ids are kept: U and I are the largest ids + 1.

    Raises:
        UserError: when the ids have too many gaps.
    """
    pairs = np.concatenate([train, test] + ([] if valid is None else [valid]))
    n_users, n_items = int(pairs[:, 0].max()) + 1, int(pairs[:, 1].max()) + 1
    refuse_gaps(paths["train"], pairs, n_users, n_items)
    for what, ids, count in (("user", pairs[:, 0], n_users), ("item", pairs[:, 1], n_items)):
        if missing := count - len(np.unique(ids)):
            LOG.warning(
                "%s: %d of the %d %s ids up to the largest never occur, and count as %ss "
                "nevertheless; dataset=mine leaves no gaps",
                *(paths["train"], missing, count, what, what),
            )
    return Published(train, test, n_users, n_items, valid)


def one_a_user(
    path: Path, pairs: IntArray, part: str, name: Callable[[int], object] = lambda user: user
) -> None:
    """Raise for a part of a leave-one-out split in which a user has several items.

    Raises:
        UserError: naming file and user.
    """
    users, counts = np.unique(sort_pairs(pairs)[:, 0], return_counts=True)
    if len(users) and counts.max() > 1:
        raise UserError(
            f"{path}: user {name(int(users[counts.argmax()]))} has {counts.max()} {part} items, "
            "but a leave-one-out split has one for each user"
        )


def refuse_gaps(path: Path, pairs: IntArray, n_users: int, n_items: int) -> None:
    """Raise for ids so large that they must be wrong: every table has a row for each id.

    Raises:
        UserError: when there are more than 1000 + 100 n ids for n pairs.
    """
    for what, count in (("user", n_users), ("item", n_items)):
        if count > 1000 + 100 * len(pairs):
            raise UserError(
                f"{path}: {count} {what}s for {len(pairs)} pairs; "
                "ids are kept, so they must have few gaps"
            )
