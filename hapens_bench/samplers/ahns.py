"""AHNS: negatives whose hardness adapts to the positive's score."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick


class AHNS(Sampler):
    """Take the candidate whose score is nearest to a target that depends on the positive's score.

        j = argmin_{j in pool} |s_uj - beta (s_ui + alpha)^(p+1)|, p < 0

    Lai et al., "Adaptive hardness negative sampling for collaborative filtering", AAAI 2024, eq.
    2-3. At p = -1 the target is the constant beta, and alpha plays no part. At p = -2 it is
    beta / (s_ui + alpha), which is harder for low-scored positives. As in the authors' code,
    nothing is clamped: for s_ui < -alpha the p = -2 target is negative, although the paper assumes
    positive scores.
    """

    keys = {
        "alpha": Key(float),
        "beta": Key(float),
        "p": Key(int, high=-1),
        "M": PoolSize(int, low=1, shared=True),
    }

    alpha: Tensor
    beta: Tensor
    p: Tensor

    def __init__(self, alpha: Tensor, beta: Tensor, p: Tensor, M: int) -> None:
        super().__init__()
        self.hyperparameters(alpha=alpha, beta=beta, p=p)
        self.pool_size = M

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the candidate whose score is nearest to the target."""
        cand = encoded.score(batch.users, pool)
        pos = encoded.score(batch.users, batch.items[..., None])
        target = self.beta * torch.pow(pos + self.alpha, self.p + 1)
        return pick(pool, (cand - target).abs().argmin(-1))
