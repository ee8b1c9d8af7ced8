"""PNS: negatives by popularity."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, Sampler
from hapens_bench.samplers.pool import Positives

# Weights are whole numbers that add up to about this, so that sums and searches are exact.
SCALE = 1 << 50


class PNS(Sampler):
    """Draw by popularity among the items that u has not interacted with.

        p(j) ~ pop(j)^power, pop the train degree

    Chen et al., "On sampling strategies for neural network-based collaborative filtering" (NNCF),
    KDD 2017, with power 0.75.

    Exact without a retry loop: all items lie on a line, each as long as its weight; the user's own
    items are cut out, and a uniform place on what is left is mapped to an item by two binary
    searches, as rank-select does for uniform draws. A user who has interacted with every item of
    positive weight gets a uniform negative. Train positives are never drawn, as in RecBole; some
    codes draw them.
    """

    keys = {"power": Key(float, low=0, shared=True)}
    pool_size = 0

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def start(self, positives: Positives) -> None:
        """Lay all items out on a line, each as long as its weight.

        Each user's own items lie on a line too, user after user.
        """
        self.positives, items = positives, positives.items[: int(positives.indptr[-1])]
        popularity = positives.degrees().double()
        weights = torch.where(popularity > 0, popularity**self.power, 0)
        lengths = (weights * (SCALE / weights.sum())).round().long()
        zero = lengths.new_zeros(1)
        self.line = torch.cat([zero, lengths.cumsum(0)])
        self.known = torch.cat([zero, lengths[items].cumsum(0)])

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Draw one item by popularity; the pool is not used."""
        users, B = batch.users, batch.users.shape[1]
        positives, line, known = self.positives, self.line, self.known
        u = ((rng.bits(batch.step * B, B) >> 11) & ((1 << 53) - 1)).double() * 2.0**-53
        start, stop = positives.indptr[users], positives.indptr[users + 1]
        left = line[-1] - (known[stop] - known[start])
        place = (u * left).long()
        before = positives.search(
            users, lambda at: line[positives.items[at]] - (known[at] - known[start]) <= place
        )
        item = torch.searchsorted(line, place + known[before] - known[start], right=True) - 1
        rank = (u * positives.uninteracted(users)).long()
        return Negatives(torch.where(left > 0, item, positives.select(users, rank))[..., None])
