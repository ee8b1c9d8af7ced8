"""The loops that ask whether a user has interacted with an item: drawing and counting negatives.

See `loops` for what holds for all of them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MUL1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL2 = np.uint64(0x94D049BB133111EB)
SHORT = 24  # measured against 0, 12, 48
# Blocks of a batch, summed separately and then in order: sums do not depend on the thread count.
BLOCKS = 8


@numba.njit(inline="always")
def _mix(x: Any) -> Any:
    """Scramble a 64-bit word: `rng.mix`."""
    x = (x ^ (x >> np.uint64(30))) * _MUL1
    x = (x ^ (x >> np.uint64(27))) * _MUL2
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _count(items: Any, low: int, high: int, start: int, limit: Any, by_rank: bool) -> Any:
    """Return the first place in a row whose item is not before `limit`.

    For ranks, an item counts minus its place in the row.
    """
    while low < high:
        middle = (low + high) >> 1
        value = items[middle] - (middle - start) if by_rank else items[middle]
        before = value <= limit if by_rank else value < limit
        if before:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(inline="always")
def _known(
    user: Any, item: Any, start: Any, stop: Any, items: Any, bitmap: Any, row_bytes: int
) -> Any:
    """Return whether the user has interacted with the item.

    A short row is read from end to end: one or two cache lines, where the user's part of the bitmap
    would take twenty.
    """
    if stop - start <= SHORT:
        found = False
        for at in range(start, stop):
            found |= items[at] == item
        return found
    if len(bitmap):
        return (bitmap[user * row_bytes + (item >> 3)] >> (item & 7)) & 1 == 1
    at = _count(items, start, stop, start, item, False)
    return at < stop and items[at] == item


@numba.njit(parallel=True, cache=True, nogil=True)
def draw_pool(
    users: Any,
    keys: Any,
    counter: int,
    indptr: Any,
    items: Any,
    bitmap: Any,
    row_bytes: int,
    n_items: int,
    attempts: int,
    out: Any,
) -> None:
    """Fill `out` with the candidates of `pool.draw_pool`.

    Shape:
        users: [T, B]; keys: [T]; indptr: [U+1]; items: [N]; bitmap: [U * row_bytes] or empty;
        out: [T, B, M].
    """
    T, B, M = out.shape
    bits = 62
    while n_items >> (62 - bits) > 0:
        bits -= 1
    down, scale = np.uint64(64 - bits), np.uint64(bits)
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        user = users[t, b]
        start, stop = indptr[user], indptr[user + 1]
        key = np.uint64(keys[t]) + np.uint64(counter + b * M) * _GAMMA
        for m in range(M):
            word = _mix(key + np.uint64(m) * _GAMMA)
            item = np.int64(((word >> down) * np.uint64(n_items)) >> scale)
            left = attempts
            while _known(user, item, start, stop, items, bitmap, row_bytes):
                word = _mix(word + _GAMMA)
                left -= 1
                if left == 0:
                    rank = np.int64(((word >> down) * np.uint64(n_items - (stop - start))) >> scale)
                    item = rank + _count(items, start, stop, start, rank, True) - start
                    break
                item = np.int64(((word >> down) * np.uint64(n_items)) >> scale)
            out[t, b, m] = item


@numba.njit(parallel=True, cache=True, nogil=True)
def replace_known(
    users: Any,
    shared: Any,
    stand_in: Any,
    indptr: Any,
    items: Any,
    bitmap: Any,
    row_bytes: int,
    out: Any,
) -> None:
    """Copy the items of a trial to each row, but the stand-in where the user knows an item.

    Shape:
        users: [T, B]; shared: [T, K]; stand_in: [T, B, 1]; out: [T, B, K].
    """
    T, B, K = out.shape
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        user = users[t, b]
        start, stop = indptr[user], indptr[user + 1]
        for k in range(K):
            item = shared[t, k]
            known = _known(user, item, start, stop, items, bitmap, row_bytes)
            out[t, b, k] = stand_in[t, b, 0] if known else item


@numba.njit(parallel=True, cache=True, nogil=True)
def tally(
    users: Any,
    positive: Any,
    negative: Any,
    negatives: Any,
    indptr: Any,
    truth: Any,
    bitmap: Any,
    row_bytes: int,
    sums: Any,
) -> None:
    """Add a step to the sums of `training.hardness.HardnessMeter`, each trial's in batch order.

    Shape:
        users, positive: [T, B]; negative, negatives: [T, B, K];
        indptr, truth, bitmap: false negatives; sums: [5, T].
    """
    T, B, K = negatives.shape
    part = np.zeros((T, BLOCKS, 4))
    for place in numba.prange(T * BLOCKS):
        t, block = place // BLOCKS, place % BLOCKS
        ratio, finite, sigmoid, false = 0.0, 0, 0.0, 0
        for b in range(B * block // BLOCKS, B * (block + 1) // BLOCKS):
            user, s = users[t, b], np.float64(positive[t, b])
            start, stop = indptr[user], indptr[user + 1]
            for k in range(K):
                own = np.float64(negative[t, b, k])
                if s != 0 and np.isfinite(own / s):
                    ratio += own / s
                    finite += 1
                sigmoid += 1 / (1 + np.exp(s - own))
                false += _known(user, negatives[t, b, k], start, stop, truth, bitmap, row_bytes)
        for n, value in enumerate((ratio, float(finite), sigmoid, float(false))):
            part[t, block, n] = value
    for t in range(T):
        for block in range(BLOCKS):
            sums[:4, t] += part[t, block]
        sums[4, t] += B * K
