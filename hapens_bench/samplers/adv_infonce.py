"""AdvInfoNCE: a learned hardness for each negative of a softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.generator import Factors


class AdvInfoNCE(Sampler):
    """Weigh K uniform negatives by a hardness that an adversary learns.

        w_k = c K p_k, p = softmax_k(g(u, j_k)), g(u, j) = <a_u, b_j>
        L = ln(1 + sum_k w_k e^((s_uk - s_ui)/tau)) = `loss=sampled_softmax`, positive=in

    ln(K p_k) is the hardness delta_k of negative k. a and b are tables beside the recommender, of
    its size. They climb L by gradient steps of their own rate `lr`, while the recommender descends
    it; that happens in every `every`-th epoch from the first on, `times` epochs in all, which
    bounds how far p may leave the uniform distribution. c is the weight of the negatives together.
    `tau` is the loss's, `l2` acts on the rows of a and b in the batch. Each epoch logs
    `sampler/eta`, the mean Kullback-Leibler divergence of p from the uniform distribution.

    Zhang et al., "Empowering collaborative filtering with principled adversarial contrastive loss",
    NeurIPS 2023; there s is a cosine: `model.similarity=cosine`.

    Deviations from the authors' code: the adversary climbs beside the recommender's step, where
    theirs has a pass over the data of its own; after such an epoch Adam's momentum carries it on
    for about ten steps. The tables are Xavier-uniform, not normal.
    """

    keys = {
        "K": PoolSize(int, low=1, shared=True),
        "tau": Key(float, above=0),
        "c": Key(float, above=0),
        "lr": Key(float, above=0),
        "l2": Key(float, low=0),
        "every": Key(int, low=1),
        "times": Key(int, low=0),
    }
    differentiable = True
    tau: Tensor
    c: Tensor
    lr: Tensor
    l2: Tensor
    every: Tensor
    times: Tensor
    tally: Tensor

    def __init__(
        self,
        K: int,
        tau: Tensor,
        c: Tensor,
        lr: Tensor,
        l2: Tensor,
        every: Tensor,
        times: Tensor,
        seeds: list[int],
        D: int,
        n_users: int,
        n_items: int,
    ) -> None:
        super().__init__()
        self.pool_size = K
        self.hyperparameters(tau=tau, c=c, lr=lr, l2=l2, every=every, times=times)
        self.adversary = Factors(seeds, D, n_users, n_items)
        # The sum of divergences, and their number.
        self.register_buffer("tally", torch.zeros(len(seeds), 2, dtype=torch.float64))

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Return that the loss must take weights."""
        return True

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of the adversary's tables."""
        return 4 * (n_users + n_items) * D

    def learning_rate(self) -> Tensor:
        """See `Sampler.learning_rate`."""
        return self.lr

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the whole pool with its weights, and let the adversary learn."""
        tables = self.adversary.encode(encoded.engine)
        first, others, squares = tables.pairs(batch.users, pool[..., 0], pool[..., 1:])
        ln_p = torch.log_softmax(torch.cat([first[..., None], others], -1), -1)
        ln_w = ln_p + (self.c * pool.shape[-1]).log()
        positive = encoded.score(batch.users, batch.items[..., None])
        gaps = (encoded.score(batch.users, pool) - positive) / self.tau
        L = torch.logsumexp(F.pad(gaps + ln_w, (1, 0)), -1)
        climb = self.l2.view(-1) * squares.mean(-1) - L.mean(-1)
        turn = (batch.epoch % self.every == 0) & (batch.epoch < self.every * self.times)
        ln_p = ln_p.detach()
        eta = (ln_p.exp() * ln_p).sum(-1) + math.log(pool.shape[-1])
        self.tally += torch.stack([eta, torch.ones_like(eta)], -1).double().sum(1)
        extra = turn.view(-1) * (climb - climb.detach())
        return Negatives(pool, weights=ln_w.detach().exp(), extra=extra)

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """See `Sampler.close_epoch`."""
        total, n = self.tally.T
        column = {"sampler/eta": total / n}
        self.tally.zero_()
        return column
