"""MixGCF: negatives synthesised from candidates and the positive."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose


class MixGCF(Sampler):
    """Mix the hardest candidate with the positive in each layer l.

        e'_j = a_l e_i + (1 - a_l) e_j, a_l ~ U(0, 1), j = argmax_j e_u . e'_j

    Huang et al., "MixGCF: An improved training method for graph neural network-based recommender
    systems", KDD 2021. a_l is drawn once per positive and layer and shared by its M candidates, so
    the order of e_u . e'_j is that of e_u . e_j, of which the argmax is taken. Another item may win
    in each layer; scores use the pooled user vector. The gradient flows through the mix. On MF
    there is one layer: DNS with a random soft factor 1 - a. `Negatives.items` names the winners of
    layer 0.
    """

    keys = {"M": PoolSize(int, low=1, shared=True)}
    differentiable = True

    def __init__(self, M: int) -> None:
        super().__init__()
        self.pool_size = M

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Mix the hardest candidate of each layer with the positive."""
        L1, B = encoded.n_layers, batch.users.shape[1]
        a = rng.uniform(batch.step * B * L1, B, L1)[..., None]
        mixed, items = [], []
        for layer in range(L1):
            table = encoded.layer(layer)
            hardest = encoded.score_layer(layer, batch.users, pool).argmax(-1)
            j = choose(pool, hardest)
            mixed.append(
                a[..., layer, :] * table.item(batch.items) + (1 - a[..., layer, :]) * table.item(j)
            )
            items.append(j)
        return Negatives(items[0][..., None], layers=torch.stack(mixed, -2)[:, :, None])
