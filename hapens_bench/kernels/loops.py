"""The engine's inner loops on CPU cores, compiled by numba.

Every function works on plain arrays whose first axis is the trial. Each output element is computed
by one thread in a fixed order, so results depend neither on the number of threads nor on
pack-mates. Only sums over D are reordered (vectorised), so they equal the torch path up to float32
rounding; the pool and the ranking equal it exactly. `cpu.prepare` makes every process run the same
machine code.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# What a vectorised sum of products needs; nan and inf are preserved.
_SUMS = {"reassoc", "contract", "nsz"}


@numba.njit(inline="always")
def _dot(x: Any, y: Any, D: int) -> Any:
    total = np.float32(0)
    for d in range(D):
        total += x[d] * y[d]
    return total


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def gather_dot(user_table: Any, item_table: Any, users: Any, items: Any, out: Any) -> None:
    """Score items against their users without gathering rows.

    out[t, b, m] = <user_table[t, u_b], item_table[t, i_bm]>.

    Shape:
        user_table: [T, U, D]; item_table: [T, I, D]; users: [T, B]; items, out: [T, B, M].
    """
    T, B, M = items.shape
    D = user_table.shape[2]
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        q = user_table[t, users[t, b]]
        for m in range(M):
            out[t, b, m] = _dot(q, item_table[t, items[t, b, m]], D)


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def scores(
    user_table: Any,
    item_table: Any,
    user_ego: Any,
    item_ego: Any,
    users: Any,
    positives: Any,
    negatives: Any,
    positive: Any,
    negative: Any,
    squares: Any,
) -> None:
    """Score a batch and compute the half squared norms of its ego rows.

    These are (|q_u|^2 + |v_i|^2 + sum_k |v_jk|^2) / 2.

    Shape:
        user_table, user_ego: [T, U, D]; item_table, item_ego: [T, I, D];
        users, positives, positive, squares: [T, B]; negatives, negative: [T, B, K].
    """
    T, B, K = negatives.shape
    D, n = user_table.shape[2], user_ego.shape[2]
    for place in numba.prange(T * B):
        t, b = place // B, place % B
        u, i = users[t, b], positives[t, b]
        q = user_table[t, u]
        positive[t, b] = _dot(q, item_table[t, i], D)
        norm = _dot(user_ego[t, u], user_ego[t, u], n) + _dot(item_ego[t, i], item_ego[t, i], n)
        for k in range(K):
            j = negatives[t, b, k]
            negative[t, b, k] = _dot(q, item_table[t, j], D)
            norm += _dot(item_ego[t, j], item_ego[t, j], n)
        squares[t, b] = np.float32(0.5) * norm


@numba.njit(inline="always")
def _add(target: Any, a: Any, x: Any, D: int) -> None:
    for d in range(D):
        target[d] += a * x[d]


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def scatter(
    user_table: Any,
    item_table: Any,
    user_ego: Any,
    item_ego: Any,
    users: Any,
    positives: Any,
    negatives: Any,
    d_positive: Any,
    d_negative: Any,
    d_squares: Any,
    user_grad: Any,
    item_grad: Any,
    user_ego_grad: Any,
    item_ego_grad: Any,
    parts: int,
) -> None:
    """Add the gradients of `scores` to the tables' gradients, each row's terms in batch order.

    The rows of a trial are shared among `parts` threads by row number. Each thread goes through the
    whole batch and adds the terms of its rows.

    Shape:
        as `scores`; d_positive, d_squares: [T, B]; d_negative: [T, B, K]; a gradient as its table.
    """
    T, B, K = negatives.shape
    D, n = user_table.shape[2], user_ego.shape[2]
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        for b in range(B):
            u, i, ds = users[t, b], positives[t, b], d_squares[t, b]
            q = user_table[t, u]
            if u % parts == part:
                _add(user_grad[t, u], d_positive[t, b], item_table[t, i], D)
                for k in range(K):
                    _add(user_grad[t, u], d_negative[t, b, k], item_table[t, negatives[t, b, k]], D)
                _add(user_ego_grad[t, u], ds, user_ego[t, u], n)
            if i % parts == part:
                _add(item_grad[t, i], d_positive[t, b], q, D)
                _add(item_ego_grad[t, i], ds, item_ego[t, i], n)
            for k in range(K):
                j = negatives[t, b, k]
                if j % parts == part:
                    _add(item_grad[t, j], d_negative[t, b, k], q, D)
                    _add(item_ego_grad[t, j], ds, item_ego[t, j], n)


@numba.njit(parallel=True, cache=True, nogil=True)
def add_rows(table: Any, index: Any, grad: Any, parts: int) -> None:
    """Add rows to the indexed rows of a table, in order: table[t, index[t, n]] += grad[t, n].

    Shape:
        table: [T, rows, D]; index: [T, n]; grad: [T, n, D].
    """
    T, n, D = grad.shape
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        for k in range(n):
            row = index[t, k]
            if row % parts == part:
                target, source = table[t, row], grad[t, k]
                for d in range(D):
                    target[d] += source[d]


@numba.njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def adam(
    param: Any,
    grad: Any,
    m: Any,
    v: Any,
    scale: Any,
    inverse_root: Any,
    c1: Any,
    b2: Any,
    c2: Any,
    eps: Any,
    decay: Any,
    parts: int,
) -> None:
    """Take Adam's step and reset the gradient to zero; see `PackAdam`.

    Slices of the rows instead of indices into them, and multiplying by the inverse root, measured 7
    times as fast, because only then is the loop vectorised. Nothing may be contracted here: the
    last elements of a slice, which fill no vector, would be rounded differently from the rest, and
    slices depend on the number of threads.

    Shape:
        param, grad, m, v: [T, n]; scale, decay: [T]; c1 = 1 - b1 and c2 = 1 - b2, rounded once.
    """
    T, n = param.shape
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        low, high = n * part // parts, n * (part + 1) // parts
        p, g, first, second = param[t, low:high], grad[t, low:high], m[t, low:high], v[t, low:high]
        a, lam = scale[t], decay[t]
        for k in range(high - low):
            slope = g[k] + lam * p[k]
            first[k] += c1 * (slope - first[k])
            second[k] = b2 * second[k] + c2 * slope * slope
            p[k] -= a * first[k] / (np.sqrt(second[k]) * inverse_root + eps)
            g[k] = np.float32(0)
