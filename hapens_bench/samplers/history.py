"""Positives blended with the user's history: what DCANS and StabCF share."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose
from hapens_bench.samplers.pool import Positives, draw_positives


class HistorySampler(Sampler):
    """Mix positive and history by a softmax of scores, then the result with hard candidates.

    A subclass names the hard candidates and whether the loss sees the mixed positive. In each layer
    l, with the query u that the layer's items are scored against, and W train items h of the user:

        i' = sum_h a_h h + a_i i, a ~ (e^(u.h), alpha e^(u.i))
        negative = b_i' i' + sum_j b_j j, b ~ (alpha e^(u.i'), e^(u.j))

    over the hard candidates j. The gradient flows through vectors and weights.
    """

    keys = {
        "M": PoolSize(int, low=1, shared=True),
        "W": Key(int, low=1, shared=True),
        "alpha": Key(float, above=0),
    }
    differentiable = True
    replaces_positive = False
    alpha: Tensor

    def __init__(self, M: int, W: int, alpha: Tensor) -> None:
        super().__init__()
        self.hyperparameters(alpha=alpha)
        self.pool_size, self.W = M, W

    def observe(self, train: Positives) -> None:
        """See `Sampler.observe`."""
        self.train_items = train

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Mix in each layer."""
        counter = batch.step * (batch.users.shape[1] * self.W)
        history = draw_positives(self.train_items, batch.users, self.W, rng, counter)
        positives, negatives, items = [], [], []
        for layer in range(encoded.n_layers):
            table, u = encoded.layer(layer), encoded.layer_query(layer, batch.users)
            own = table.item(batch.items)[..., None, :]
            mixed = self._mix(u, own, table.item(history))
            hard = self.hard(encoded, layer, batch.users, mixed.detach()[..., 0, :], pool)
            positives.append(mixed)
            negatives.append(self._mix(u, mixed, table.item(torch.stack(hard, -1))))
            items.append(hard[0])
        return Negatives(
            items[0][..., None],
            layers=torch.stack(negatives, -2),
            positive_layers=torch.cat(positives, -2) if self.replaces_positive else None,
        )

    @abstractmethod
    def hard(
        self, encoded: Encoded, layer: int, users: Tensor, mixed: Tensor, pool: Tensor
    ) -> list[Tensor]:
        """Return the hard candidates of one layer, without a gradient.

        Shape:
            users: [T, B]; mixed: [T, B, D]; pool: [T, B, M] -> [T, B] each.
        """

    def hardest(self, encoded: Encoded, layer: int, users: Tensor, pool: Tensor) -> Tensor:
        """Return the candidate of the highest score in one layer: [T, B, M] -> [T, B]."""
        return choose(pool, encoded.score_layer(layer, users, pool).argmax(-1))

    def _mix(self, u: Tensor, own: Tensor, others: Tensor) -> Tensor:
        """Mix vectors by a softmax of scores, in which the first has the factor alpha.

        Shape:
            u: [T, B, D]; own: [T, B, 1, D]; others: [T, B, n, D] -> [T, B, 1, D].
        """
        vectors = torch.cat([own, others], -2)
        s = (u[..., None, :] * vectors).sum(-1)
        s = torch.cat([s[..., :1] + self.alpha.log(), s[..., 1:]], -1)
        return (torch.softmax(s, -1)[..., None] * vectors).sum(-2, keepdim=True)
