"""The loops of alternating least squares. See `loops` for what holds for all of them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hapens_bench.kernels.loops import _SUMS, _add, _dot


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def conjugate_gradients(
    indptr: Any, index: Any, table: Any, shared: Any, l2: Any, steps: int, parts: int, x: Any
) -> None:
    """Take steps towards the solution of (diag(shared + l2_r) + sum_i q_i q_i^T) x_r = sum_i q_i.

    The sums are over the entries i of row r, q_i = table[i]. The steps are those of conjugate
    gradients, from the x given, preconditioned by the diagonal of the matrix. A row without entries
    becomes 0.

    Shape:
        indptr [n+1], index: a sparse matrix [n, m]; table: [m, D]; shared: [D]; l2: [n]; x: [n, D].
    """
    n, D = x.shape
    for part in numba.prange(parts):
        M, diagonal, r, p, Ap = np.empty((5, D), np.float32)
        for row in range(part, n, parts):  # in turn: rows of similar length are often neighbours
            own, known = x[row], index[indptr[row] : indptr[row + 1]]
            if len(known) == 0:
                own[:] = 0
                continue
            M[:] = shared + l2[row]
            diagonal[:] = M
            r[:] = 0
            for i in known:
                q = table[i]
                _add(r, 1 - _dot(q, own, D), q, D)
                for d in range(D):
                    diagonal[d] += q[d] * q[d]
            for d in range(D):
                r[d] -= M[d] * own[d]
                p[d] = r[d] / diagonal[d]
            before = _dot(r, p, D)
            for _ in range(steps):
                for d in range(D):
                    Ap[d] = M[d] * p[d]
                for i in known:
                    _add(Ap, _dot(table[i], p, D), table[i], D)
                curvature = _dot(p, Ap, D)
                if not before > 0 or not curvature > 0:  # solved already
                    break
                a = before / curvature
                after = np.float32(0)
                for d in range(D):
                    own[d] += a * p[d]
                    r[d] -= a * Ap[d]
                    after += r[d] * r[d] / diagonal[d]
                b = after / before
                for d in range(D):
                    p[d] = r[d] / diagonal[d] + b * p[d]
                before = after


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def squared_errors(indptr: Any, index: Any, rows: Any, table: Any, out: Any) -> None:
    """Sum (<x_r, q_i> - 1)^2 over the entries i of each row r.

    Shape:
        indptr [n+1], index: a sparse matrix [n, m]; rows: [n, D]; table: [m, D]; out: [n] float64.
    """
    n, D = rows.shape
    for row in numba.prange(n):
        total = 0.0
        for i in index[indptr[row] : indptr[row + 1]]:
            error = np.float64(_dot(rows[row], table[i], D)) - 1
            total += error * error
        out[row] = total


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=_SUMS)
def squared_lengths(rows: Any, out: Any) -> None:
    """Sum the squares of each row.

    Shape:
        rows: [n, D]; out: [n] float64.
    """
    n, D = rows.shape
    for row in numba.prange(n):
        total = 0.0
        for d in range(D):
            x = np.float64(rows[row, d])
            total += x * x
        out[row] = total
