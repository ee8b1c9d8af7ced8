"""The fixed negatives that a held-out item is ranked against."""

from __future__ import annotations

import numpy as np

from hapens_bench.data.interactions import IntArray, sort_pairs
from hapens_bench.errors import UserError


def draw_negatives(known: IntArray, n_users: int, n_items: int, n: int, seed: int) -> IntArray:
    """Draw n items for each user, uniformly with replacement from items in none of her pairs.

    SRNS's published lists (NeurIPS 2020) are made like this: duplicates stay, and the user's train,
    validation and test items never occur. Every item id can be drawn, also one without a train
    pair.

    Shape:
        known: [m, 2] -> [U, n].

    Raises:
        UserError: when a user has no other item.
    """
    known = sort_pairs(known)
    counts = np.bincount(known[:, 0], minlength=n_users)
    if counts.max(initial=0) >= n_items:
        raise UserError(
            f"user {int(counts.argmax())} has all {n_items} items, "
            "so there is no negative to rank against"
        )
    keys = known[:, 0] * n_items + known[:, 1]
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, n_items, (n_users, n))
    while True:
        hit = np.isin(drawn + np.arange(n_users)[:, None] * n_items, keys)
        if not hit.any():
            return drawn
        drawn[hit] = generator.integers(0, n_items, int(hit.sum()))
