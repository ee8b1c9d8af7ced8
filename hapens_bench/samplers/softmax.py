"""Softmax(rho, N): candidates weighted by an adaptive softmax of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick, place_by


class Softmax(Sampler):
    """Weight N uniform candidates by an adaptive softmax of their losses.

        Z_j = softplus(s_uj - s_ui), tau = sqrt(Var_j(Z) / (2 rho)), w = softmax(Z / tau)

    Shi et al., "On the theories behind hard negative sampling for recommendation", WWW 2023. rho is
    the radius of a KL ball: the larger, the harder. The variance is unbiased, over the candidates
    of one positive. Two readings: `take=all` passes all candidates with weights w to the loss
    (`loss=bpr_sum`: sum_j w_j Z_j), as the authors' code does; `take=one` draws one with
    probability w. Where all Z are equal, so are the weights.

    Deviation from the authors' code: train positives are no candidates.
    """

    keys = {
        "rho": Key(float, above=0),
        "N": PoolSize(int, low=2, shared=True),
        "take": Key(str, choices=("one", "all"), shared=True),
    }
    rho: Tensor

    def __init__(self, rho: Tensor, N: int, take: str) -> None:
        super().__init__()
        self.hyperparameters(rho=rho)
        self.pool_size, self.take = N, take

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Return whether all candidates are taken: only then do they have weights."""
        return bool(section["take"] == "all")

    def weights(self, pos: Tensor, cand: Tensor) -> Tensor:
        """Return w: [T, B, 1], [T, B, N] -> [T, B, N]."""
        Z = F.softplus(cand - pos)
        tau = (Z.var(-1, keepdim=True) / (2 * self.rho)).sqrt()
        return torch.softmax(
            (Z - Z.amax(-1, keepdim=True)) / tau.clamp(min=torch.finfo(Z.dtype).tiny), -1
        )

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Draw one candidate by weight, or take all with their weights."""
        pos = encoded.score(batch.users, batch.items[..., None])
        w = self.weights(pos, encoded.score(batch.users, pool))
        if self.take == "all":
            return Negatives(pool, weights=w)
        B = batch.users.shape[1]
        return pick(pool, place_by(w, rng.uniform(batch.step * B, B)))
