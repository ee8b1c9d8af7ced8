"""Popularity: the same list for everyone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.models.fitted import Fitted, Sparse


class Popularity(Fitted):
    """Score an item by how many users have it in train: s_ui = |{v : (v, i) in S}|.

    Equal counts rank by ascending item id, as all equal scores do.
    """

    def __init__(self, X: Sparse, seed: int) -> None:
        self.X = X

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """See `Fitted.n_bytes`."""
        return 4 * n_items

    def fit(self) -> dict[str, float]:
        """Count; see `Fitted.fit`."""
        self.counts = torch.from_numpy(self.X.sum(axis=0)).float()
        return {}

    def scores(self, users: Tensor) -> Tensor:
        """See `Fitted.scores`."""
        return self.counts.repeat(len(users), 1)
