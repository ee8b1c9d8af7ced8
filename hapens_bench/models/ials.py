"""iALS: matrix factorisation on all pairs, by alternating least squares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.kernels import cpu
from hapens_bench.models.fitted import Fitted, Sparse
from hapens_bench.models.initial import normal
from hapens_bench.rng import Purpose, Streams
from hapens_bench.termination import check

NUMBERS = 2**24  # float32 of the gathered rows, or of the systems, of a block: 64 MiB


class IALS(Fitted):
    """Matrix factorisation, s_ui = <p_u, q_i>, that asks 1 of train pairs and, weakly, 0 of all.

        L = sum_{(u,i) in S} (s_ui - 1)^2 + alpha0 sum_{u,i} s_ui^2
            + lam [sum_u (|S_u| + alpha0 I)^nu |p_u|^2 + sum_i (|S_i| + alpha0 U)^nu |q_i|^2]

    An epoch sets every p_u to its minimum given all q, then every q_i to its minimum given all p.
    So L never rises.

        p_u = (sum_{i in S_u} q_i q_i^T + alpha0 Q^T Q + lam (|S_u| + alpha0 I)^nu E)^-1
              sum_{i in S_u} q_i,   with the identity E

    Hu et al., "Collaborative filtering for implicit feedback datasets", ICDM 2008; objective and
    keys as in Rendle et al., "Revisiting the performance of iALS on item recommendation
    benchmarks", RecSys 2022. q starts from N(0, std^2 / D); p from 0.

    With `cg`, a row takes that many steps of conjugate gradients from where it is, instead of going
    to the minimum (Takacs et al., "Applications of the conjugate gradient method for implicit
    feedback collaborative filtering", RecSys 2011): see `approach`.

    Shape:
        user: [U, D]; item: [I, D].
    """

    keys = {
        "D": Key(int, low=1),
        "alpha0": Key(float, above=0),
        "lam": Key(float, above=0),
        "nu": Key(float, low=0),
        "std": Key(float, above=0),
        "cg": Key(int, low=1, optional=True),
    }
    closed_form = False

    def __init__(
        self,
        X: Sparse,
        seed: int,
        D: int,
        alpha0: float,
        lam: float,
        nu: float,
        std: float,
        cg: int | None,
    ) -> None:
        self.X, self.by_item, self.alpha0, self.cg = X, X.T.tocsr(), alpha0, cg
        U, I = X.shape
        start = normal(Streams([seed], Purpose.INIT), 0, I, int(D), std / int(D) ** 0.5)
        self.user, self.item = torch.zeros(U, int(D)), start.detach()[0]
        self.l2_user, self.l2_item = (
            torch.from_numpy(lam * (np.diff(rows.indptr) + alpha0 * rows.shape[1]) ** nu).float()
            for rows in (self.X, self.by_item)
        )

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """Return the bytes of the tables, with a copy as of the last epoch."""
        return 2 * 4 * (n_users + n_items) * int(section["D"])

    def fit(self) -> dict[str, float]:
        """Take an epoch; `train/loss` is L after it, divided by the train pairs."""
        self._update(self.X, self.user, self.item, gram(self.item), self.l2_user)
        of_users = gram(self.user)
        self._update(self.by_item, self.item, self.user, of_users, self.l2_item)
        return {"train/loss": self._objective(of_users) / self.X.nnz}

    def _update(self, X: Sparse, own: Tensor, other: Tensor, G: Tensor, l2: Tensor) -> None:
        if self.cg is None:
            own.copy_(solve(X, other, G, self.alpha0, l2))
        else:
            own.copy_(approach(X, own, other, G, self.alpha0, l2, self.cg))

    def _objective(self, of_users: Tensor) -> float:
        """Return L, summed in double precision; `of_users` is P^T P."""
        total = self.alpha0 * (of_users * gram(self.item)).sum()
        total += (self.l2_user.double() * cpu.squared_lengths(self.user)).sum()
        total += (self.l2_item.double() * cpu.squared_lengths(self.item)).sum()
        total += cpu.squared_errors(self.X.indptr, self.X.indices, self.user, self.item).sum()
        return float(total)

    def scores(self, users: Tensor) -> Tensor:
        """See `Fitted.scores`."""
        return self.user[users] @ self.item.T

    def state(self) -> dict[str, Tensor]:
        """Return the tables; see `Fitted.state`."""
        return {"user": self.user, "item": self.item}


def solve(X: Sparse, other: Tensor, G: Tensor, alpha0: float, l2: Tensor) -> Tensor:
    """Return the rows that minimise L given the other side's: a batch of systems per block.

    In the basis of the eigenvectors of G = Q^T Q, what all rows share is a diagonal M. So a row of
    n < D train pairs, with vectors K [n, D], takes an n x n system instead of a D x D one:
    (M + K^T K)^-1 K^T 1 = M^-1 K^T (E + K M^-1 K^T)^-1 1.

    Shape:
        X: [n, m]; other: [m, D]; l2: [n] -> [n, D].
    """
    D, found = other.shape[1], torch.zeros(X.shape[0], other.shape[1])
    shared, turn = turned_basis(G, alpha0)
    turned = other @ turn
    for rows, padded, inside in blocks(X, D):
        known, M = turned[padded] * inside[..., None], shared + l2[rows, None]
        few = padded.shape[1] < D
        left = (known / M[:, None] if few else known).transpose(1, 2)
        A = torch.bmm(known, left) if few else torch.bmm(left, known)
        A.diagonal(dim1=1, dim2=2).add_(1 if few else M)
        b = inside.float()[..., None] if few else known.sum(1)[..., None]
        solved = torch.cholesky_solve(b, torch.linalg.cholesky(A))
        found[rows] = (torch.bmm(left, solved) if few else solved)[..., 0]
    return found @ turn.T


def approach(
    X: Sparse, own: Tensor, other: Tensor, G: Tensor, alpha0: float, l2: Tensor, steps: int
) -> Tensor:
    """Return the rows after some steps of conjugate gradients towards those of `solve`.

    In the basis of `solve` what all rows share is a diagonal, so a step for a row of n train pairs
    takes 4 n D multiplications and additions, without the D^2 of a product with Q^T Q.

    Shape:
        X: [n, m]; own: [n, D]; other: [m, D]; l2: [n] -> [n, D].
    """
    check()
    shared, turn = turned_basis(G, alpha0)
    x = own @ turn
    cpu.conjugate_gradients(X.indptr, X.indices, other @ turn, shared, l2, steps, x)
    return x @ turn.T


def turned_basis(G: Tensor, alpha0: float) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of alpha0 G, and the eigenvectors in columns.

    Shape:
        G: [D, D] -> [D], [D, D].
    """
    values, vectors = torch.linalg.eigh(G)
    return alpha0 * values.clamp(min=0).float(), vectors.float()


def gram(table: Tensor) -> Tensor:
    """Return the inner products of the columns, in double precision: [n, D] -> [D, D]."""
    x = table.double()
    return x.T @ x


def blocks(X: Sparse, D: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the rows of X that have entries, of similar length together, with their columns.

    Shape:
        -> rows [n]; columns, padded with 0, [n, length]; whether each is one [n, length].
    """
    count = np.diff(X.indptr)
    order = np.argsort(count, kind="stable")
    order = order[np.searchsorted(count[order], 1) :]
    begin = 0
    while begin < len(order):
        check()
        end = begin + _fitting(count[order[begin:]], D)
        rows = order[begin:end]
        inside = np.arange(count[rows[-1]]) < count[rows, None]
        padded = np.zeros(inside.shape, np.int64)
        padded[inside] = X[rows].indices
        yield torch.from_numpy(rows), torch.from_numpy(padded), torch.from_numpy(inside)
        begin = end


def _fitting(count: NDArray[np.integer], D: int) -> int:
    """Return how many of the next rows, by ascending length, make a block of `NUMBERS`."""
    n = np.arange(1, len(count) + 1)
    # At most doubled in length, so that little is padding.
    fits = (n * np.maximum(count, D) * D <= NUMBERS) & (count <= 2 * count[0])
    return max(1, int(np.count_nonzero(fits)))
