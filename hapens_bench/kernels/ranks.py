"""Ranks by counting, compiled by numba like `loops`; exactly equal to the torch path."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(parallel=True, cache=True, nogil=True)
def mark_hits(
    scores: Any,
    begin: int,
    exclude_start: Any,
    exclude: Any,
    target_start: Any,
    targets: Any,
    hits: Any,
) -> None:
    """Count the items ranked before each target, and mark the targets in the top K.

    The rank of target i is the number of items j that are not excluded with s_j > s_i, or s_j = s_i
    and j < i. Targets are taken in the order of their ranks, so that counting stops beyond K.

    Shape:
        scores: [n, I], overwritten, from user `begin` on; exclude_start, target_start: [users + 1];
        hits: [users, K] bool.
    """
    K = hits.shape[1]
    lowest = np.float32(-np.inf)
    for place in numba.prange(scores.shape[0]):
        row, user = scores[place], begin + place
        for at in range(exclude_start[user], exclude_start[user + 1]):
            row[exclude[at]] = lowest
        mine = targets[target_start[user] : target_start[user + 1]]
        left = row[mine]
        for k in range(len(mine)):
            if np.isnan(left[k]):
                left[k] = lowest
        for _ in range(len(mine)):
            best = np.argmax(left)
            i, s = mine[best], left[best]
            if s == lowest:
                break
            left[best] = lowest
            rank = np.int32(0)
            for j in range(i):
                rank += np.int32(row[j] >= s)
            for j in range(i + 1, len(row)):
                rank += np.int32(row[j] > s)
            if rank >= K:
                break
            hits[user, rank] = True


@numba.njit(parallel=True, cache=True, nogil=True)
def count_below(scores: Any, users: Any, items: Any, indptr: Any, known: Any, below: Any) -> None:
    """Count the items that score below each negative, without the user's own items.

    Shape:
        scores: [n, I]; users: [n]; items, below: [n, K]; indptr: [U+1]; known: [N].
    """
    for b in numba.prange(items.shape[0]):
        row, user = scores[b], users[b]
        for k in range(items.shape[1]):
            own = row[items[b, k]]
            count = np.int32(0)
            for j in range(len(row)):
                count += np.int32(row[j] < own)
            for at in range(indptr[user], indptr[user + 1]):
                count -= np.int32(row[known[at]] < own)
            below[b, k] = count


@numba.njit(parallel=True, cache=True, nogil=True)
def positives_below(scores: Any, users: Any, indptr: Any, known: Any, below: Any) -> None:
    """Count, for each train item of some users, their uninteracted items that score below it.

    Shape:
        scores: [n, I]; users: [n]; indptr: [U+1];
        known, below: [N], of which the places of these users are written.
    """
    for b in numba.prange(scores.shape[0]):
        row, user = scores[b], users[b]
        mine = np.sort(row[known[indptr[user] : indptr[user + 1]]])
        for at in range(indptr[user], indptr[user + 1]):
            own = row[known[at]]
            count = np.int32(0)
            for j in range(len(row)):
                count += np.int32(row[j] < own)
            below[at] = count - np.searchsorted(mine, own)
