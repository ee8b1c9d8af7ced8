"""ItemKNN: items that the same users had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.fitted import Fitted, Sparse
from hapens_bench.termination import check

BLOCK = 512  # items whose similarities to all others are held at a time


class ItemKNN(Fitted):
    """Score an item by its similarity to those of the user's items that are near to it.

        c_ij = |U_i & U_j| / (sqrt(|U_i| |U_j|) + shrink),  s_ui = sum_{j in S_u & N_k(i)} c_ij

    U_i are the users who have i in train. N_k(i) are the k items j != i of highest c_ij > 0; of
    equal ones, those of lower id.

    Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, with
    the shrinkage and the neighbourhoods of Ferrari Dacrema et al., "Are we really making much
    progress?", RecSys 2019. Deviations from the latter's code: no 1e-6 in the denominator, and ties
    at the k-th place are settled; no feature weighting and only the cosine.
    """

    keys = {"k": Key(int, low=1), "shrink": Key(float, low=0)}

    def __init__(self, X: Sparse, seed: int, k: int, shrink: float) -> None:
        self.X, self.k, self.shrink = X, int(k), shrink

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """Return the bytes of a block of co-occurrences of items that all occur together."""
        return 8 * min(BLOCK, n_items) * n_items

    def fit(self) -> dict[str, float]:
        """Find the neighbours of every item; see `Fitted.fit`."""
        X, by_item = self.X, self.X.T.tocsr()
        length = np.sqrt(X.sum(axis=0, dtype=np.float64))
        blocks = []
        for begin in range(0, X.shape[1], BLOCK):
            check()
            together = csr_array(by_item[begin : begin + BLOCK] @ X).tocoo()
            row, column = together.coords
            other = row + begin != column
            row, column, c = row[other], column[other], together.data[other].astype(np.float64)
            c /= length[row + begin] * length[column] + self.shrink
            order = np.lexsort((column, -c, row))
            row, column, c = row[order], column[order], c[order]
            near = np.arange(len(row)) - np.searchsorted(row, row) < self.k
            shape = (together.shape[0], X.shape[1])
            kept = c[near].astype(np.float32), (row[near], column[near])
            blocks.append(csr_array(kept, shape=shape))
        self.similar = csr_array(vstack(blocks)).T.tocsr()  # [j, i], for products with rows of X
        return {}

    def scores(self, users: Tensor) -> Tensor:
        """See `Fitted.scores`."""
        return torch.from_numpy((self.X[users.numpy()] @ self.similar).toarray())
