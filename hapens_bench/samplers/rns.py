"""RNS: uniform random negatives."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, Sampler


class RNS(Sampler):
    """Draw uniform negatives, anew at every step: j ~ U(I minus S_u).

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009. There is
    no retry loop: see `pool.draw_pool`.
    """

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the pool's single candidate."""
        return Negatives(pool)
