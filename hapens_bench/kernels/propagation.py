"""Propagation over a graph, dropout and rows of length 1, compiled by numba like `loops`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hapens_bench.kernels.loops import _SUMS, _dot
from hapens_bench.kernels.membership import _GAMMA, _count, _mix


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def multiply(indptr: Any, index: Any, weight: Any, table: Any, out: Any, parts: int) -> None:
    """Multiply a sparse matrix with T tables.

    out[t, n] = sum over the edges e of row n of weight[t, e] table[t, index[e]].

    Each trial's rows are cut into parts of about equally many edges. Eight edges are taken at a
    time, so that `out` is read and written an eighth as often: measured 1.3-1.5 times as fast as
    one by one.

    Shape:
        indptr: [n+1]; index: [E]; weight: [1 or T, E]; table: [T, m, D]; out: [T, n, D].
    """
    T, n, D = out.shape
    E, W = len(index), len(weight)
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        w, x = weight[t % W], table[t]
        low = _count(indptr, 0, n, 0, E * part // parts, False)
        high = _count(indptr, 0, n, 0, E * (part + 1) // parts, False) if part + 1 < parts else n
        for row in range(low, high):
            y = out[t, row]
            for d in range(D):
                y[d] = np.float32(0)
            start, stop = indptr[row], indptr[row + 1]
            eights = start + (stop - start) // 8 * 8
            for e in range(start, eights, 8):
                x0, x1, x2, x3 = x[index[e]], x[index[e + 1]], x[index[e + 2]], x[index[e + 3]]
                x4, x5, x6, x7 = x[index[e + 4]], x[index[e + 5]], x[index[e + 6]], x[index[e + 7]]
                w0, w1, w2, w3, w4, w5, w6, w7 = (
                    w[e],
                    w[e + 1],
                    w[e + 2],
                    w[e + 3],
                    w[e + 4],
                    w[e + 5],
                    w[e + 6],
                    w[e + 7],
                )
                for d in range(D):
                    y[d] += (
                        ((w0 * x0[d] + w1 * x1[d]) + (w2 * x2[d] + w3 * x3[d]))
                        + ((w4 * x4[d] + w5 * x5[d]) + (w6 * x6[d] + w7 * x7[d]))
                    )  # fmt: skip
            for e in range(eights, stop):
                x0, w0 = x[index[e]], w[e]
                for d in range(D):
                    y[d] += w0 * x0[d]


@numba.njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def drop(x: Any, keys: Any, counter: int, rate: Any, out: Any, parts: int) -> None:
    """Zero entries with probability `rate`, divide the rest by 1 - rate; see `Noise.drop`.

    Shape:
        x, out: [T, n]; keys, rate: [T].
    """
    T, n = x.shape
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        low, high = n * part // parts, n * (part + 1) // parts
        key = np.uint64(keys[t]) + np.uint64(counter) * _GAMMA
        scale = np.float32(1) / (np.float32(1) - rate[t])
        for k in range(low, high):
            u = np.float32(_mix(key + np.uint64(k) * _GAMMA) >> np.uint64(40)) * np.float32(
                2.0**-24
            )
            out[t, k] = x[t, k] * (scale if u >= rate[t] else np.float32(0))


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def unit(x: Any, out: Any) -> None:
    """Divide each row by its length, or by 1e-12 where it is shorter.

    Shape:
        x, out: [n, D].
    """
    for row in numba.prange(len(x)):
        length = max(np.sqrt(_dot(x[row], x[row], x.shape[1])), np.float32(1e-12))
        for d in range(x.shape[1]):
            out[row, d] = x[row, d] / length


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def unit_gradient(x: Any, grad: Any, out: Any) -> None:
    """Write the gradient of `unit`: with y = x / |x|, (g - y <y, g>) / |x|.

    Shape:
        x, grad, out: [n, D].
    """
    for row in numba.prange(len(x)):
        square = _dot(x[row], x[row], x.shape[1])
        length = max(np.sqrt(square), np.float32(1e-12))
        along = _dot(x[row], grad[row], x.shape[1]) / max(square, np.float32(1e-24))
        for d in range(x.shape[1]):
            out[row, d] = (grad[row, d] - x[row, d] * along) / length
