"""In-batch negatives, mixed with uniform ones, and corrected for how often they are sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives


class InBatch(Sampler):
    """Take the other positives of the batch as negatives, and N uniform ones.

        w_j = q_i / q_j, q_j = K p_j + N / I, p_j = degree(j) / (number of train pairs)

    With `loss=sampled_softmax` that is the softmax of s_uj / tau - ln q_j over the positive and its
    negatives: the logQ correction of positive and negatives. K is the number of in-batch negatives:
    the positives of the next K rows, or of all other rows with `K: null`. Batches are shuffled, so
    any K rows are as good. `logq: false` has w = 1.

    An in-batch item that the user has in train is no negative: its weight is 0, and a uniform item
    stands in its place, which enters no loss.

    N = 0: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", RecSys 2019. N > 0: Yang et al., "Mixed negative sampling for learning
    two-tower neural networks in recommendations", WWW 2020 Companion.

    Deviations: p_j is exact, not a streaming estimate; both papers keep the user's other positives
    among the negatives; N more uniform items are drawn for each positive, none of which the user
    has, where Yang et al. share a set among the batch; q does not know that either is left out.
    """

    keys = {
        "K": Key(int, low=1, optional=True, shared=True),
        "N": PoolSize(int, low=0, shared=True),
        "logq": Key(bool, shared=True),
    }

    def __init__(self, K: int | None, N: int, logq: bool) -> None:
        super().__init__()
        self.K, self.N, self.logq = K, N, logq
        self.pool_size = N + 1  # the last one stands in for what the user has

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Return True: train items have the weight 0."""
        return True

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def observe(self, train: Positives) -> None:
        """Compute how often each item is the positive of a train pair."""
        degrees = train.degrees()
        self.p = degrees.float() / degrees.sum().clamp(min=1)

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the items of the next rows and the pool, with their weights."""
        users, items, (_, B) = batch.users, batch.items, batch.users.shape
        # At least one, which is the row itself in a batch of one: the user has it.
        K = max(1, B - 1 if self.K is None else min(self.K, B - 1))
        step = torch.arange(1, K + 1, device=items.device)
        rows = (torch.arange(B, device=items.device)[:, None] + step) % B
        others = items[:, rows]
        known = self.positives.contains(users[..., None], others)
        uniform, stand_in = pool[..., : self.N], pool[..., self.N :]
        negatives = torch.cat([torch.where(known, stand_in, others), uniform], -1)
        left = torch.cat([~known, torch.ones_like(uniform, dtype=torch.bool)], -1)
        if not self.logq:
            return Negatives(negatives, weights=left.float())
        q = K * self.p + self.N / len(self.p)
        # Where the weight is 0, q may be: no train pair has the item that stands in.
        w = q[items][..., None] / q[negatives].clamp(min=torch.finfo(q.dtype).tiny)
        return Negatives(negatives, weights=torch.where(left, w, 0))
