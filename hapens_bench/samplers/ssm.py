"""SSM: all K uniform candidates are negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.kernels import Engine, cpu
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams, to_below
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives


class SSM(Sampler):
    """Take K uniform items as the negatives of a sampled softmax, each in the loss.

    Wu et al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024
    (arXiv 2201.02327). With `loss=bpr` the loss is ln(1 + sum_k exp(s_uk - s_ui)), the reading that
    fits the AHNS table. With `loss=sampled_softmax` and `model.similarity=cosine` it is the paper's
    own.

    With `shared`, K items are drawn once for the whole batch, uniform over all items, so that the
    scores are a matrix product. Where one of them is a train item of the user, a draw of her own
    stands in for it, the same for all such places of a row. Each negative is still uniform over
    what the user has not interacted with, but those of a batch depend on one another.

    Negatives are uniform; `sampler=in_batch` has those of the batch.
    """

    keys = {"K": PoolSize(int, low=1, shared=True), "shared": Key(bool, shared=True)}
    positives: Positives

    def __init__(self, K: int, shared: bool) -> None:
        super().__init__()
        self.K, self.shared = K, shared
        self.pool_size = 1 if shared else K

    def start(self, positives: Positives) -> None:
        """Keep the pairs that may not be drawn."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the whole pool, or that of the batch."""
        if not self.shared:
            return Negatives(pool)
        known = self.positives
        items = to_below(rng.bits(batch.step * self.K, self.K), known.n_items, known.scale)
        if known.engine is Engine.NUMBA:
            drawn = cpu.replace_known(batch.users, items, pool, known.rows)
        else:
            inside = known.contains(batch.users[..., None], items[:, None])
            drawn = torch.where(inside, pool, items[:, None])
        return Negatives(drawn, shared=items, stand_in=pool[..., 0])
