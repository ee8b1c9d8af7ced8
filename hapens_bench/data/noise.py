"""Records that do not belong to a user, put among her train items on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hapens_bench.data.interactions import IntArray, Split, sort_pairs, without


def noisy_users(split: Split, share: float, seed: int) -> IntArray:
    """Draw the share of the users with a train item who get false records."""
    users = np.unique(split.train[:, 0])
    order = np.random.default_rng(seed).permutation(len(users))
    return np.sort(users[order[: round(share * len(users))]])


def add_noise(split: Split, share: float, most: int, seed: int) -> Split:
    """Add 1 to `most` uniform random items to the train items of a share of the users; valid and test stay as they are.

    Items in any of the user's pairs are left out of it, and of two equal draws of a user one.
    """
    users = noisy_users(split, share, seed)
    generator = np.random.default_rng([seed, 1])
    owner = np.repeat(users, generator.integers(1, most + 1, len(users)))
    added = np.column_stack([owner, generator.integers(0, split.n_items, len(owner))])
    known = np.concatenate([split.train, split.valid, split.test])
    added = without(added, known, split.n_items)
    return replace(split, train=sort_pairs(np.concatenate([split.train, added])))
