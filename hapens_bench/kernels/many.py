"""The loops for hundreds of negatives a positive, which go through the items block by block.

See `loops` for what holds for all of them. A row of negatives is first sorted by blocks of items.
So the rows of a block's items, and their gradients, stay in the cache while the batch passes by. A
block has one thread, so gradients meet no race. The gradient of a user's row is summed over GROUPS
of blocks, apart and then in order.

An entry is item << SHIFT | place of the negative in its row.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hapens_bench.kernels import lanes as lanes_module
from hapens_bench.kernels.loops import _SUMS, _add, _dot

lanes: Any = lanes_module  # numba types its functions by their decorator
GROUPS = 8
SHIFT = 20
LARGEST = 1 << SHIFT  # negatives in a row
_PLACE = LARGEST - 1


@numba.njit(parallel=True, cache=True, nogil=True)
def sort_rows(negatives: Any, bits: int, entries: Any, start: Any) -> None:
    """Sort each row by its items' blocks, item >> bits; block n has entries start[n] to start[n+1].

    Shape:
        negatives, entries: [T, B, K]; start: [T, B, blocks + 2].
    """
    T, B, K = negatives.shape
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        row, at, out = negatives[t, b], start[t, b], entries[t, b]
        at[:] = 0
        for k in range(K):
            at[(row[k] >> bits) + 2] += 1
        for n in range(2, len(at)):
            at[n] += at[n - 1]
        for k in range(K):
            n = (row[k] >> bits) + 1
            out[at[n]] = (row[k] << SHIFT) | k
            at[n] += 1


@numba.njit(inline="always")
def _score(
    like: Any, q: Any, at: Any, v: Any, row: Any, low: Any, high: Any, D: Any, d: Any, out: Any
) -> None:
    """Add the products of the numbers from the d-th on, as many as `like` has lanes."""
    x = lanes.load(like, q, at + d)
    for p in range(low, high):
        out[p] += lanes.dot(x, lanes.load(like, v, (row[p] >> SHIFT) * D + d))


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def scores(
    user_table: Any, item_table: Any, users: Any, entries: Any, start: Any, out: Any
) -> None:
    """Score the entries of each row against its user.

    The user's row stays in registers, 64 numbers at a time, then 16, then one. At D = 64 measured
    1.7 times as fast as a loop over two rows for each entry.

    Shape:
        user_table: [T, U, D]; item_table: [T, I, D]; users: [T, B]; entries: [T, B, K];
        out: [T, B, K], zeros.
    """
    T, B = users.shape
    D, blocks = user_table.shape[2], start.shape[2] - 2
    for task in numba.prange(T * GROUPS):
        t, group = task // GROUPS, task % GROUPS
        q, v = user_table[t].reshape(-1), item_table[t].reshape(-1)
        for n in range(blocks * group // GROUPS, blocks * (group + 1) // GROUPS):
            for b in range(B):
                row, to, at = entries[t, b], out[t, b], users[t, b] * D
                low, high = start[t, b, n], start[t, b, n + 1]
                for d in range(0, D // 64 * 64, 64):
                    _score(lanes.zeros(64), q, at, v, row, low, high, D, d, to)
                for d in range(D // 64 * 64, D // 16 * 16, 16):
                    _score(lanes.zeros(16), q, at, v, row, low, high, D, d, to)
                for d in range(D // 16 * 16, D):
                    for p in range(low, high):
                        to[p] += q[at + d] * v[(row[p] >> SHIFT) * D + d]


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def half_norms(table: Any, out: Any) -> None:
    """Write half the squared length of each row: [T, n, D] -> [T, n]."""
    T, n, D = table.shape
    for place in numba.prange(T * n):
        row = table[place // n, place % n]
        out[place // n, place % n] = np.float32(0.5) * _dot(row, row, D)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def finish(
    user_table: Any,
    item_table: Any,
    user_norms: Any,
    item_norms: Any,
    users: Any,
    positives: Any,
    entries: Any,
    scored: Any,
    positive: Any,
    negative: Any,
    squares: Any,
) -> None:
    """Score the positives, bring the negatives' scores in order and sum the half squared norms.

    Shape:
        user_norms: [T, U]; item_norms: [T, I]; users, positives, positive, squares: [T, B];
        entries, scored, negative: [T, B, K].
    """
    T, B, K = entries.shape
    D = user_table.shape[2]
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        u, i = users[t, b], positives[t, b]
        positive[t, b] = _dot(user_table[t, u], item_table[t, i], D)
        norm = user_norms[t, u] + item_norms[t, i]
        for p in range(K):
            entry = entries[t, b, p]
            negative[t, b, entry & _PLACE] = scored[t, b, p]
            norm += item_norms[t, entry >> SHIFT]
        squares[t, b] = norm


@numba.njit(parallel=True, cache=True, nogil=True)
def sort_like(entries: Any, values: Any, out: Any) -> None:
    """Bring values in the order of the entries: [T, B, K] -> [T, B, K]."""
    T, B, K = entries.shape
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        for p in range(K):
            out[t, b, p] = values[t, b, entries[t, b, p] & _PLACE]


@numba.njit(inline="always")
def _scatter(
    like: Any,
    q: Any,
    at: Any,
    part: Any,
    to: Any,
    v: Any,
    grad: Any,
    row: Any,
    low: Any,
    high: Any,
    ds: Any,
    D: Any,
    d: Any,
) -> None:
    """Add the gradients of the numbers from the d-th on, as many as `like` has lanes."""
    x, total = lanes.load(like, q, at + d), lanes.load(like, part, to + d)
    for p in range(low, high):
        j = (row[p] >> SHIFT) * D + d
        lanes.store(grad, j, lanes.add_product(lanes.load(like, grad, j), ds[p], x))
        total = lanes.add_product(total, ds[p], lanes.load(like, v, j))
    lanes.store(part, to + d, total)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def scatter_items(
    user_table: Any,
    item_table: Any,
    item_ego: Any,
    users: Any,
    positives: Any,
    entries: Any,
    start: Any,
    bits: int,
    d_positive: Any,
    d_scored: Any,
    d_squares: Any,
    item_grad: Any,
    item_ego_grad: Any,
    normed: Any,
    user_parts: Any,
) -> None:
    """Add the gradients to the items' rows, and sum those of the users' rows group by group.

    In registers as in `scores`; at D = 64 measured 2.1 times as fast as two rows for each entry.

    Shape:
        d_scored: [T, B, K], in the order of the entries; normed: [T, I], zeros;
        user_parts: [T, GROUPS, B, D], zeros.
    """
    T, B = users.shape
    D, I, n_ego = user_table.shape[2], item_table.shape[1], item_ego.shape[2]
    blocks = start.shape[2] - 2
    for task in numba.prange(T * GROUPS):
        t, group = task // GROUPS, task % GROUPS
        q, v, grad = user_table[t].reshape(-1), item_table[t].reshape(-1), item_grad[t].reshape(-1)
        part = user_parts[t, group].reshape(-1)
        for n in range(blocks * group // GROUPS, blocks * (group + 1) // GROUPS):
            for b in range(B):
                i, squared = positives[t, b], d_squares[t, b]
                if i >> bits == n:
                    _add(item_grad[t, i], d_positive[t, b], user_table[t, users[t, b]], D)
                    normed[t, i] += squared
                row, ds = entries[t, b], d_scored[t, b]
                low, high = start[t, b, n], start[t, b, n + 1]
                at, to = users[t, b] * D, b * D
                for d in range(0, D // 64 * 64, 64):
                    _scatter(lanes.zeros(64), q, at, part, to, v, grad, row, low, high, ds, D, d)
                for d in range(D // 64 * 64, D // 16 * 16, 16):
                    _scatter(lanes.zeros(16), q, at, part, to, v, grad, row, low, high, ds, D, d)
                for d in range(D // 16 * 16, D):
                    for p in range(low, high):
                        j = (row[p] >> SHIFT) * D + d
                        grad[j] += ds[p] * q[at + d]
                        part[to + d] += ds[p] * v[j]
                if squared != 0:
                    for p in range(low, high):
                        normed[t, row[p] >> SHIFT] += squared
            for j in range(n << bits, min((n + 1) << bits, I)):
                if normed[t, j] != 0:
                    _add(item_ego_grad[t, j], normed[t, j], item_ego[t, j], n_ego)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def scatter_users(
    item_table: Any,
    user_ego: Any,
    users: Any,
    positives: Any,
    d_positive: Any,
    d_squares: Any,
    user_parts: Any,
    user_grad: Any,
    user_ego_grad: Any,
    parts: int,
) -> None:
    """Add the gradients to the users' rows, each row's terms in batch order; see `loops.scatter`.

    Shape:
        user_parts: [T, GROUPS, B, D]; d_positive, d_squares: [T, B].
    """
    T, B = users.shape
    D, n_ego = item_table.shape[2], user_ego.shape[2]
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        for b in range(B):
            u = users[t, b]
            if u % parts == part:
                target = user_grad[t, u]
                _add(target, d_positive[t, b], item_table[t, positives[t, b]], D)
                for group in range(GROUPS):
                    _add(target, np.float32(1), user_parts[t, group, b], D)
                _add(user_ego_grad[t, u], d_squares[t, b], user_ego[t, u], n_ego)
