"""SSM: all K uniform candidates are negatives."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler


class SSM(Sampler):
    """Take K uniform items as the negatives of a sampled softmax, each in the loss.

    Wu et al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024
    (arXiv 2201.02327). With `loss=bpr` the loss is ln(1 + sum_k exp(s_uk - s_ui)), the reading that
    fits the AHNS table. With `loss=sampled_softmax` and `model.similarity=cosine` it is the paper's
    own.

    Negatives are uniform; `sampler=in_batch` has those of the batch.
    """

    keys = {"K": PoolSize(int, low=1, shared=True)}

    def __init__(self, K: int) -> None:
        super().__init__()
        self.pool_size = K

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the whole pool."""
        return Negatives(pool)
