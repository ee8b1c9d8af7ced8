"""DINS: negatives mixed dimension by dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose


class DINS(Sampler):
    """Mix the hardest candidate j with the positive i, dimension by dimension.

        n_d = e^(u_d j_d) / (e^(u_d j_d) + a e^(u_d i_d))
        negative = (1 - n) i + n j, j = argmax_j e_u . e_j

    Wu et al., "Dimension independent mixup for hard negative sample in collaborative filtering",
    CIKM 2023. The argmax is over raw candidates, with the pooled user vector; u in the weights is
    the layer's. The gradient flows through the weights too. Computed as n = sigma(u_d
    (j_d - i_d) - ln a), which is the same and does not overflow. `Negatives.items` names the
    winners of layer 0.

    Deviation: BPR and L2 are those of the family (design of `loss=bpr`); the authors' MF file has
    -ln(1e-5 + sigma) and norms that are not squared.
    """

    keys = {"a": Key(float, above=0), "M": PoolSize(int, low=1, shared=True)}
    differentiable = True
    a: Tensor

    def __init__(self, a: Tensor, M: int) -> None:
        super().__init__()
        self.hyperparameters(a=a)
        self.pool_size = M

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Mix the hardest candidate of each layer with the positive, dimension by dimension."""
        mixed, items = [], []
        for layer in range(encoded.n_layers):
            table = encoded.layer(layer)
            hardest = encoded.score_layer(layer, batch.users, pool).argmax(-1)
            j = choose(pool, hardest)
            u, e_i, e_j = table.query(batch.users), table.item(batch.items), table.item(j)
            n = torch.sigmoid(u * (e_j - e_i) - self.a.log())
            mixed.append((1 - n) * e_i + n * e_j)
            items.append(j)
        return Negatives(items[0][..., None], layers=torch.stack(mixed, -2)[:, :, None])
