"""DENS: negatives chosen by disentangled factors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.models.linear import Gate
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose


class DENS(Sampler):
    """Gate items into relevant and irrelevant factors, and choose the negative by them.

        g_p = sigma(A_i e_i + A_u e_u), p_r = e_i g_p, p_ir = e_i - p_r
        g_n = sigma(B_n e_j + B_p p_r), n_r = e_j g_n, n_ir = e_j - n_r
        j = argmax_j e_u . (c e_j - n_r(j)) in each layer

    Products are elementwise. BPR sees the ungated e_j. The gates learn only from an extra loss, the
    mean over B of

        (gamma / 4) [sp(s(p_ir) - s(p_r)) + sp(s(n_r) - s(n_ir))
                     + sp(s(n_r) - s(p_r)) + sp(s(p_ir) - s(n_ir))],

    with sp = softplus and s(x) = e_u . x on pooled vectors.

    Lai et al., "Disentangled negative sampling for collaborative filtering", WSDM 2023. There
    c = 1 - min(1, epoch / warmup). In the copy that made the AHNS table (AAAI 2024) c = 1 - alpha,
    which is `warmup: null`. Gates are shared by the layers.

    Deviation: their weights are Xavier-uniform with zero bias.
    """

    keys = {
        "M": PoolSize(int, low=1, shared=True),
        "gamma": Key(float, low=0),
        "alpha": Key(float),
        "warmup": Key(int, low=1, optional=True, shared=True),
    }
    differentiable = True
    gamma: Tensor
    alpha: Tensor

    def __init__(
        self, M: int, gamma: Tensor, alpha: Tensor, warmup: int | None, seeds: list[int], D: int
    ) -> None:
        super().__init__()
        self.hyperparameters(gamma=gamma, alpha=alpha)
        self.pool_size, self.warmup = M, warmup
        self.A_i, self.A_u, self.B_n, self.B_p = (Gate(seeds, place, D, D) for place in range(4))

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Choose by factors in each layer, and add the contrastive term."""
        c = 1 - self.alpha if self.warmup is None else 1 - (batch.epoch / self.warmup).clamp(max=1)
        chosen, items, factors = [], [], []
        for layer in range(encoded.n_layers):
            table = encoded.layer(layer)
            e_u, e_i = table.query(batch.users), table.item(batch.items)
            p_r = e_i * torch.sigmoid(self.A_i(e_i) + self.A_u(e_u))
            context = self.B_p(p_r)
            with torch.no_grad():
                e_all = table.item(pool)
                gate = self.B_n(e_all).add_(context[..., None, :]).sigmoid_()
                gated = gate.neg_().add_(c[..., None]).mul_(e_all)  # (c - g_n) e_j
                best = (gated @ e_u[..., None]).squeeze(-1).argmax(-1)
            j = choose(pool, best)
            e_j = table.item(j)
            n_r = e_j * torch.sigmoid(self.B_n(e_j) + context)
            chosen.append(e_j)
            items.append(j)
            factors.append(torch.stack([p_r, e_i - p_r, n_r, e_j - n_r]))
        query = encoded.query(batch.users)
        p_r, p_ir, n_r, n_ir = ((query * x).sum(-1) for x in encoded.pool(torch.stack(factors, -2)))
        terms = (
            F.softplus(p_ir - p_r)
            + F.softplus(n_r - n_ir)
            + F.softplus(n_r - p_r)
            + F.softplus(p_ir - n_ir)
        )
        extra = self.gamma.view(-1) / 4 * terms.mean(-1)
        if encoded.n_layers == 1:
            return Negatives(items[0][..., None], extra=extra)
        return Negatives(
            items[0][..., None], layers=torch.stack(chosen, -2)[:, :, None], extra=extra
        )
