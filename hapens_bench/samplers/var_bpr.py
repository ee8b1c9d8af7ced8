"""VarBPR: several positives and several negatives of a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives, draw_positives


class VarBPR(Sampler):
    """Draw M - 1 more positives of the user, and N uniform negatives, for `loss=var_bpr`.

    Liu et al., "Variational Bayesian personalized ranking", IEEE TPAMI 2026. As in the authors'
    code, the other positives are uniform train items of the user, with replacement; the positive
    itself may be among them.

    Deviation: negatives are drawn with replacement, too.
    """

    keys = {"M": Key(int, low=1, shared=True), "N": PoolSize(int, low=1, shared=True)}

    def __init__(self, M: int, N: int) -> None:
        super().__init__()
        self.M, self.pool_size = M, N

    @classmethod
    def gives_positives(cls, section: Mapping[str, Any]) -> bool:
        """Return whether there are several positives."""
        return bool(section["M"] > 1)

    def observe(self, train: Positives) -> None:
        """See `Sampler.observe`."""
        self.train_items = train

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the whole pool, and draw the other positives."""
        if self.M == 1:
            return Negatives(pool)
        n = self.M - 1
        counter = batch.step * (batch.users.shape[1] * n)
        others = draw_positives(self.train_items, batch.users, n, rng, counter)
        return Negatives(pool, positives=torch.cat([batch.items[..., None], others], -1))
