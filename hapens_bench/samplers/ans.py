"""ANS: augmented negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.models.linear import Gate
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler


class ANS(Sampler):
    """Augment candidates by noise on their easy factors, and take the one with the largest gain.

        g = sigma(A e_j * C e_u)
        hard = e_j g, easy = e_j - hard, p_hard = e_i g, p_easy = e_i - p_hard
        m = sigma(1 / (W (hard p_hard))), noise = m z / |z| sign(p_easy - easy), z ~ U(0, 1)^D
        e~_j = hard + easy + noise
        j = argmax_j e_u . e~_j + eps (e_u . e~_j - e_u . e_j) in each layer

    Products are elementwise, m is the margin, and e~_j is the negative. Beside BPR the loss has

        gamma [ln(1 + sum_j exp(e_u . easy_j - e_u . hard_j)) + mean |hard - p_hard|
               + mean sum |p_easy easy|],

    where the first |.| is the Euclidean norm and the second the absolute value.

    Zhao et al., "Augmented negative sampling for collaborative filtering", RecSys 2023; the
    authors' main code.

    Deviations: gates are Xavier-uniform with zero bias; the auxiliary terms are means over the
    batch (and the layers), and the sum over j runs over the pool. `Negatives.items` names the
    winners of layer 0.
    """

    keys = {
        "M": PoolSize(int, low=1, shared=True),
        "gamma": Key(float, low=0),
        "eps": Key(float, low=0),
    }
    differentiable = True
    gamma: Tensor
    eps: Tensor

    def __init__(self, M: int, gamma: Tensor, eps: Tensor, seeds: list[int], D: int) -> None:
        super().__init__()
        self.hyperparameters(gamma=gamma, eps=eps)
        self.pool_size = M
        self.A, self.C, self.W = Gate(seeds, 0, D, D), Gate(seeds, 1, D, D), Gate(seeds, 2, D, 1)

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Augment every candidate, take the best in each layer, and add the auxiliary terms."""
        (_, B), M, L1 = batch.users.shape, self.pool_size, encoded.n_layers
        taken, items, extra = [], [], torch.zeros_like(self.gamma.view(-1))
        for layer in range(L1):
            table = encoded.layer(layer)
            e_u, e_i = table.query(batch.users)[..., None, :], table.item(batch.items)[..., None, :]
            e_j = table.item(pool)
            g = torch.sigmoid(self.A(e_j) * self.C(e_u))
            hard, p_hard = e_j * g, e_i * g
            easy, p_easy = e_j - hard, e_i - p_hard
            w = self.W(hard * p_hard)
            # w is 0 for items without an edge; no gradient may be nan.
            margin = torch.sigmoid(1 / torch.where(w == 0, 1e-12, w))
            D = e_j.shape[-1]
            z = rng.uniform((batch.step * L1 + layer) * B * M * D, B, M, D)
            augmented = e_j + margin * F.normalize(z, dim=-1) * (p_easy - easy).sign()
            score, raw = (e_u * augmented).sum(-1), (e_u * e_j).sum(-1)
            best = (score + self.eps * (score - raw)).argmax(-1, keepdim=True)
            items.append(pool.gather(-1, best))
            taken.append(augmented.gather(2, best[..., None].expand(-1, -1, -1, D)))
            contrast = F.softplus(torch.logsumexp((e_u * (easy - hard)).sum(-1), -1)).mean(-1)
            nearness = (hard - p_hard).norm(dim=-1).mean((1, 2))
            overlap = (p_easy * easy).abs().sum(-1).mean((1, 2))
            extra = extra + self.gamma.view(-1) * (contrast + nearness + overlap) / L1
        return Negatives(items[0], layers=torch.stack(taken, -2), extra=extra)
