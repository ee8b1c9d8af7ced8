"""False interactions, added to users' train items on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hapens_bench.data.interactions import IntArray, Split, sort_pairs, without


def noisy_users(split: Split, share: float, seed: int) -> IntArray:
    """Draw the share of the users with train items who get false interactions."""
    users = np.unique(split.train[:, 0])
    order = np.random.default_rng(seed).permutation(len(users))
    return np.sort(users[order[: round(share * len(users))]])


def add_noise(split: Split, share: float, most: int, seed: int) -> Split:
    """Return the split with 1 to `most` uniform random train items more for a share of the users.

    Items in any of the user's pairs are not added, and an item drawn twice is added once. `valid`
    and `test` stay.
    """
    users = noisy_users(split, share, seed)
    generator = np.random.default_rng([seed, 1])
    owner = np.repeat(users, generator.integers(1, most + 1, len(users)))
    added = np.column_stack([owner, generator.integers(0, split.n_items, len(owner))])
    known = np.concatenate([split.train, split.valid, split.test])
    added = without(added, known, split.n_items)
    return replace(split, train=sort_pairs(np.concatenate([split.train, added])))
