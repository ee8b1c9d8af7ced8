"""Filters of interactions: small pure functions on logs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hapens_bench.data.interactions import Interactions
from hapens_bench.errors import UserError


def at_least_rating(log: Interactions, threshold: float) -> Interactions:
    """Keep interactions rated at least `threshold`.

    Raises:
        UserError: when the log has no ratings.
    """
    if log.rating is None:
        raise UserError(
            "protocol.filter.min_rating is set, but this data source has no ratings; set it to null"
        )
    return log.take(log.rating >= threshold)


def distinct(log: Interactions) -> Interactions:
    """Keep the earliest interaction of each (user, item) pair.

    Without times, or at equal times, it is the first in source order.
    """
    time = np.zeros(len(log), dtype=np.int64) if log.time is None else log.time
    order = np.lexsort((np.arange(len(log)), time))
    keys = log.user[order] * log.n_items + log.item[order]
    _, first = np.unique(keys, return_index=True)
    return log.take(np.sort(order[first]))


def k_core(log: Interactions, k: int) -> Interactions:
    """Drop users and items with fewer than k interactions, until all have at least k."""
    while True:
        users = np.bincount(log.user, minlength=log.n_users)
        items = np.bincount(log.item, minlength=log.n_items)
        keep = (users[log.user] >= k) & (items[log.item] >= k)
        if keep.all():
            return log
        log = log.take(keep)


def min_per_user(log: Interactions, n: int) -> Interactions:
    """Drop users with fewer than n interactions, in one pass."""
    return log.take(np.bincount(log.user, minlength=log.n_users)[log.user] >= n)


def random_users(log: Interactions, n: int, seed: int) -> Interactions:
    """Keep the interactions of n uniform random users with interactions, or of all if fewer."""
    users = np.unique(log.user)
    if len(users) <= n:
        return log
    kept = np.random.default_rng(seed).choice(users, n, replace=False)
    return log.take(np.isin(log.user, kept))


def renumber(log: Interactions) -> Interactions:
    """Close the gaps that filters left in the ids, preserving their order."""
    users, user = np.unique(log.user, return_inverse=True)
    items, item = np.unique(log.item, return_inverse=True)
    return replace(
        log,
        user=user.astype(np.int64),
        item=item.astype(np.int64),
        n_users=len(users),
        n_items=len(items),
        user_ids=None if log.user_ids is None else log.user_ids[users],
        item_ids=None if log.item_ids is None else log.item_ids[items],
    )
