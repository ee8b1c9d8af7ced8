"""The engine's inner loops on CPU cores, compiled by numba.

Every function works on plain arrays whose first axis is the trial. Each output element is computed by one thread in a
fixed order, so results depend neither on the number of threads nor on pack-mates. Only sums over D are reordered
(vectorised), hence equal to the torch path up to float32 rounding; the pool and the ranking are equal to it exactly.
`cpu.prepare` sees to it that every process runs the same machine code.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MUL1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL2 = np.uint64(0x94D049BB133111EB)
SHORT = 24  # measured against 0, 12, 48
BLOCKS = 8  # of a batch, summed apart and then in order, so that sums do not depend on the number of threads
_SUMS = {"reassoc", "contract", "nsz"}  # what a vectorised sum of products needs; nan and inf stay what they are


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


@numba.njit(inline="always")
def _known(user: Any, item: Any, start: Any, stop: Any, items: Any, bitmap: Any, row_bytes: int) -> Any:
    """Tell whether the user has interacted with the item.

    A short row is read from end to end: one or two cache lines, where the user's part of the bitmap would be twenty.
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
        users: [T, B]; keys: [T]; indptr: [U+1]; items: [N]; bitmap: [U * row_bytes] or empty; out: [T, B, M].
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


@numba.njit(inline="always")
def _dot(x: Any, y: Any, D: int) -> Any:
    total = np.float32(0)
    for d in range(D):
        total += x[d] * y[d]
    return total


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def gather_dot(user_table: Any, item_table: Any, users: Any, items: Any, out: Any) -> None:
    """Score items against their users, with nothing gathered: out[t, b, m] = <user_table[t, u_b], item_table[t, i_bm]>.

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
    """Score a batch, and take the half squared norm of its ego rows, (|q_u|^2 + |v_i|^2 + sum_k |v_jk|^2) / 2.

    Shape:
        user_table, user_ego: [T, U, D]; item_table, item_ego: [T, I, D]; users, positives, positive, squares: [T, B];
        negatives, negative: [T, B, K].
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

    The rows of a trial are shared out over `parts` threads by row number; each goes through the batch and adds what is its own.

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
    """Add rows to those of a table that an index names, in order: table[t, index[t, n]] += grad[t, n].

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
    parts: int,
) -> None:
    """Take Adam's step and set the gradient back to zero; see `PackAdam`.

    Slices of the rows, not indices into them, and multiplying by the inverse root: measured 7 times as fast as without, because
    only then is the loop vectorised. Nothing may be contracted here: a slice's last elements, which no vector holds, would be
    rounded otherwise than the rest, and slices depend on the number of threads.

    Shape:
        param, grad, m, v: [T, n]; scale: [T]; c1 = 1 - b1 and c2 = 1 - b2, rounded once.
    """
    T, n = param.shape
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        low, high = n * part // parts, n * (part + 1) // parts
        p, g, first, second = param[t, low:high], grad[t, low:high], m[t, low:high], v[t, low:high]
        a = scale[t]
        for k in range(high - low):
            first[k] += c1 * (g[k] - first[k])
            second[k] = b2 * second[k] + c2 * g[k] * g[k]
            p[k] -= a * first[k] / (np.sqrt(second[k]) * inverse_root + eps)
            g[k] = np.float32(0)


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
        users, positive: [T, B]; negative, negatives: [T, B, K]; indptr, truth, bitmap: false negatives; sums: [5, T].
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
