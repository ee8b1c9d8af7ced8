"""The candidate pool on CPU cores, compiled: the same draws as the plain torch path, item for item."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MUL1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL2 = np.uint64(0x94D049BB133111EB)


@numba.njit(inline="always")
def _mix(x: Any) -> Any:
    """Scramble a 64-bit word: `rng.mix`."""
    x = (x ^ (x >> np.uint64(30))) * _MUL1
    x = (x ^ (x >> np.uint64(27))) * _MUL2
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _count(items: Any, low: int, high: int, start: int, limit: Any, by_rank: bool) -> Any:
    """Find the first place in a row whose item (less its place in the row, for ranks) is not before `limit`."""
    while low < high:
        middle = (low + high) >> 1
        value = items[middle] - (middle - start) if by_rank else items[middle]
        before = value <= limit if by_rank else value < limit
        if before:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(parallel=True, cache=True, nogil=True)
def draw(
    users: Any,
    keys: Any,
    counter: int,
    M: int,
    indptr: Any,
    items: Any,
    bitmap: Any,
    row_bytes: int,
    n_items: int,
    out: Any,
) -> None:
    """Fill `out` with the candidates of `pool.draw_pool`.

    Shape:
        users: [T, B]; keys: [T]; indptr: [U+1]; items: [N]; bitmap: [U * row_bytes] or empty; out: [T, B, M].
    """
    T, B = users.shape
    bits = 62
    while n_items >> (62 - bits) > 0:
        bits -= 1
    down, scale = np.uint64(64 - bits), np.uint64(bits)
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        user = users[t, b]
        start, stop = indptr[user], indptr[user + 1]
        key = np.uint64(keys[t])
        for m in range(M):
            word = _mix(key + np.uint64(counter + b * M + m) * _GAMMA)
            item = np.int64(((word >> down) * np.uint64(n_items)) >> scale)
            if len(bitmap):
                hit = (bitmap[user * row_bytes + (item >> 3)] >> (item & 7)) & 1
            else:
                at = _count(items, start, stop, start, item, False)
                hit = at < stop and items[at] == item
            if hit:
                word = _mix(word + _GAMMA)
                rank = np.int64(((word >> down) * np.uint64(n_items - (stop - start))) >> scale)
                item = rank + _count(items, start, stop, start, rank, True) - start
            out[t, b, m] = item
