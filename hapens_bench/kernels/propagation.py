"""Propagation over a graph, dropout, noise and rows of length 1, compiled by numba like `loops`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hapens_bench.kernels import lanes as lanes_module
from hapens_bench.kernels.loops import _SUMS, _dot
from hapens_bench.kernels.membership import _GAMMA, _count, _mix

lanes: Any = lanes_module  # numba types its functions by their decorator


@numba.njit(inline="always")
def _sum(total: Any, index: Any, weight: Any, start: Any, stop: Any, x: Any, D: Any, d: Any) -> Any:
    """Add the edges' weighted numbers from the d-th on, as many as `total` has lanes."""
    for e in range(start, stop):
        total = lanes.add_product(total, weight[e], lanes.load(total, x, index[e] * D + d))
    return total


@numba.njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def multiply(indptr: Any, index: Any, weight: Any, table: Any, out: Any, parts: int) -> None:
    """Multiply a sparse matrix with T tables.

    out[t, n] = sum over the edges e of row n, in their order, of weight[t, e] table[t, index[e]].

    Each trial's rows are cut into parts of about equally many edges. Of each row, 64 numbers at a
    time stay in registers over all edges, then 32, 16, 8, 4 and one of what is left: measured
    1.5-1.7 times as fast at D = 64 as eight edges at a time added to `out`.

    Shape:
        indptr: [n+1]; index: [E]; weight: [1 or T, E]; table: [T, m, D]; out: [T, n, D].
    """
    T, n, D = out.shape
    E = len(index)
    for place in numba.prange(T * parts):
        t, part = place // parts, place % parts
        w, x, y = weight[t % len(weight)], table[t].reshape(-1), out[t].reshape(-1)
        low = _count(indptr, 0, n, 0, E * part // parts, False)
        high = _count(indptr, 0, n, 0, E * (part + 1) // parts, False) if part + 1 < parts else n
        for row in range(low, high):
            start, stop, at = indptr[row], indptr[row + 1], row * D
            for d in range(0, D // 64 * 64, 64):
                lanes.store(y, at + d, _sum(lanes.zeros(64), index, w, start, stop, x, D, d))
            for d in range(D // 64 * 64, D // 32 * 32, 32):
                lanes.store(y, at + d, _sum(lanes.zeros(32), index, w, start, stop, x, D, d))
            for d in range(D // 32 * 32, D // 16 * 16, 16):
                lanes.store(y, at + d, _sum(lanes.zeros(16), index, w, start, stop, x, D, d))
            for d in range(D // 16 * 16, D // 8 * 8, 8):
                lanes.store(y, at + d, _sum(lanes.zeros(8), index, w, start, stop, x, D, d))
            for d in range(D // 8 * 8, D // 4 * 4, 4):
                lanes.store(y, at + d, _sum(lanes.zeros(4), index, w, start, stop, x, D, d))
            for d in range(D // 4 * 4, D):
                total = np.float32(0)
                for e in range(start, stop):
                    total += w[e] * x[index[e] * D + d]
                y[at + d] = total


@numba.njit(inline="always")
def _uniform(key: Any, place: Any) -> Any:
    """Return output number `place` of a stream as a number in [0, 1); see `rng.to_unit`."""
    word = _mix(key + np.uint64(place) * _GAMMA) >> np.uint64(40)
    return np.float32(word) * np.float32(2.0**-24)


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
            kept = _uniform(key, k) >= rate[t]
            out[t, k] = x[t, k] * (scale if kept else np.float32(0))


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def perturb(x: Any, keys: Any, counter: int, eps: Any, normal: bool, out: Any) -> None:
    """Move each row by eps times a random vector of length 1; see `Noise.perturb`.

    Shape:
        x, out: [T, n, D]; keys, eps: [T].
    """
    T, n, D = x.shape
    for place in numba.prange(T * n):
        t, row = place // n, place % n
        key = np.uint64(keys[t]) + np.uint64(counter) * _GAMMA
        square = np.float32(0)
        for d in range(D):
            w = _uniform(key, row * D + d)
            if normal:
                angle = np.float32(2 * np.pi) * _uniform(key, (n + row) * D + d)
                w = np.sqrt(np.float32(-2) * np.log1p(-w)) * np.cos(angle)
            out[t, row, d] = w
            square += w * w
        scale = eps[t] / max(np.sqrt(square), np.float32(1e-12))
        for d in range(D):
            out[t, row, d] = x[t, row, d] + np.sign(x[t, row, d]) * out[t, row, d] * scale


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
