"""Stage one of HAPENS (our reading): uniform negatives, shared by all train items of a user."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives, draw_positives


class WorstCase(Sampler):
    """Draw K uniform uninteracted items per user, for `loss=worst_case`.

    That loss takes all of the user's train items itself. OUR READING of stage one of HAPENS (Liu et
    al., WWW 2023 Companion). One uniform train item per user is drawn, for measuring hardness only.
    """

    keys = {"K": PoolSize(int, low=1, shared=True)}
    groups = True

    def __init__(self, K: int) -> None:
        super().__init__()
        self.pool_size = K

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the whole pool, and one train item."""
        B = batch.users.shape[1]
        return Negatives(
            pool, positives=draw_positives(self.positives, batch.users, 1, rng, batch.step * B)
        )
