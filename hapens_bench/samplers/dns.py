"""DNS: the hardest of M uniform candidates."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick


class DNS(Sampler):
    """Take the hardest of M uniform candidates: j = argmax_{j in pool} s_uj.

    Zhang et al., "Optimizing top-N collaborative filtering via dynamic negative item sampling",
    SIGIR 2013. M = 1 is RNS. Scores use the present parameters, as in the code of MixGCF and AHNS.
    """

    keys = {"M": PoolSize(int, low=1, shared=True)}

    def __init__(self, M: int) -> None:
        super().__init__()
        self.pool_size = M

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the candidate with the highest score."""
        scores = encoded.score(batch.users, pool)
        return pick(pool, scores.argmax(-1))
