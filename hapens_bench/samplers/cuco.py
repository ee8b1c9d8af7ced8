"""CuCo for collaborative filtering: DNS whose pool shrinks during the training."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick


class CuCo(Sampler):
    """Take the hardest of a pool that shrinks, as a curriculum.

        j = argmax s_uj over the first max(1, floor((1 - t/T) M)) of M candidates in epoch t of T

    Chu et al., "CuCo: Graph representation with curriculum contrastive learning", IJCAI 2021, as
    the code of AHNS (AAAI 2024) carries it over to recommendation: from hard to easy, where the
    original goes from easy to hard. T is the scheduled number of epochs, whatever early stopping
    does.
    """

    keys = {"M": PoolSize(int, low=1, shared=True)}

    def __init__(self, M: int) -> None:
        super().__init__()
        self.pool_size = M

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the candidate with the highest score among the first n."""
        n = (self.pool_size * (batch.epochs - batch.epoch) // batch.epochs).clamp(min=1)
        late = torch.arange(self.pool_size, device=pool.device) >= n
        return pick(pool, encoded.score(batch.users, pool).masked_fill(late, -torch.inf).argmax(-1))
