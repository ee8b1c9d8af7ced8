"""ENMF: no sampling at all."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, Sampler
from hapens_bench.samplers.pool import Positives, draw_positives


class ENMF(Sampler):
    """Draw nothing for the loss: `loss=whole_data` takes all items as they are.

    Chen et al., "Efficient neural matrix factorization without sampling for recommendation", TOIS
    2020.

    For each user of a step one uniform positive and one uniform uninteracted item are drawn, for
    measuring hardness only: every such item counts alike in the loss.
    """

    groups = True

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Return one positive and the whole pool, which holds a single candidate here."""
        B = batch.users.shape[1]
        return Negatives(
            pool, positives=draw_positives(self.positives, batch.users, 1, rng, batch.step * B)
        )
