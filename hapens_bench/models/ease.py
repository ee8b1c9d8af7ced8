"""EASE-R: a linear autoencoder in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.errors import UserError
from hapens_bench.models.fitted import Fitted, Sparse
from hapens_bench.termination import check

BLOCK = 512  # rows of the item-item matrix that are made or mirrored at a time


class EASE(Fitted):
    """Score items by a linear model of the user's train row, s_u = x_u B, with diag(B) = 0.

        min_B |X - X B|^2 + lam |B|^2:   P = (X^T X + lam I)^-1,   B_ij = -P_ij / P_jj for i != j

    Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019. The matrix is factored
    and inverted in place in single precision by LAPACK, so the fit takes 4 I^2 bytes (6.3 GiB for
    the 40,981 items of Gowalla) and about I^3 multiplications.
    """

    keys = {"lam": Key(float, above=0)}

    def __init__(self, X: Sparse, seed: int, lam: float) -> None:
        self.X, self.lam = X, lam

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """Return the bytes of the item-item matrix, of which there is one, and of a block."""
        return 4 * n_items * (n_items + 2 * min(BLOCK, n_items))

    def fit(self) -> dict[str, float]:
        """Solve for B; see `Fitted.fit`.

        Raises:
            UserError: when X^T X + lam I is not positive definite in single precision.
        """
        P = gram(self.X)
        diagonal = np.einsum("ii->i", P)
        diagonal += np.float32(self.lam)
        # LAPACK counts columns first: P.T is the same symmetric matrix, and needs no copy.
        _, failed = lapack.spotrf(P.T, lower=0, clean=0, overwrite_a=1)
        if not failed:
            check()
            _, failed = lapack.spotri(P.T, lower=0, overwrite_c=1)
        if failed:
            raise UserError(f"X^T X + {self.lam:g} I cannot be inverted; take a larger model.lam")
        mirror(P)
        P /= -diagonal.copy()
        diagonal[:] = 0
        self.B = P
        return {}

    def scores(self, users: Tensor) -> Tensor:
        """See `Fitted.scores`."""
        return torch.from_numpy(self.X[users.numpy()] @ self.B)


def gram(X: Sparse) -> NDArray[np.float32]:
    """Return X^T X as a dense matrix, made block by block: [U, I] -> [I, I]."""
    by_item, I = X.T.tocsr(), X.shape[1]
    G = np.empty((I, I), np.float32)
    for begin in range(0, I, BLOCK):
        check()
        (by_item[begin : begin + BLOCK] @ X).toarray(out=G[begin : begin + BLOCK])
    return G


def mirror(P: NDArray[np.float32]) -> None:
    """Copy the triangle below the diagonal to the one above it, in place: [I, I]."""
    I = len(P)
    for begin in range(0, I, BLOCK):
        end = min(begin + BLOCK, I)
        square = P[begin:end, begin:end]
        square[:] = np.tril(square) + np.tril(square, -1).T
        P[begin:end, end:] = P[end:, begin:end].T
