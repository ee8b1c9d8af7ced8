"""IRGAN's minimax game over the whole catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, choose
from hapens_bench.samplers.generator import Adversary, Factors
from hapens_bench.samplers.pool import Positives


class IRGANMinimax(Adversary):
    """The minimax game of the recommender, as the generator G, with a discriminator D.

        p_G(j | u) = softmax_j s_G(u, j) over all items

    The sampler owns D, a matrix factorisation, and trains both. Epochs come in rounds of
    `d_epochs`, in which D learns, and `g_epochs`, in which G does:

        D: mean softplus(-s_D(u, i)) + softplus(s_D(u, j)) + l2/2 |rows|^2,
           j ~ softmax(s_G(u, .) / temperature), train items not left out;
        G: - mean ln p_G(j) w(j) 2 (sigma(s_D(u, j)) - 1/2), for two j per positive,
           j ~ p_n = (1 - lam) p_G + lam uniform(S_u).

    S_u is the set of the user's train items, and the importance weight w = p_G / p_n is held fixed.
    For `pretrain` epochs before the rounds, G learns as DNS: BPR on the hardest of M candidates.
    That candidate is also the negative that is reported, with weight 0 once the game has begun. The
    loss of G's epochs means nothing as a number and adds 0 to what is logged.

    Wang et al., "IRGAN: a minimax game for unifying generative and discriminative information
    retrieval models", SIGIR 2017, and the authors' item_recommendation code.

    Deviations: Adam instead of SGD, and its moments run on while the other side learns; batches of
    interactions, not of one user, for G; D's negatives are drawn at each step, not every fifth
    epoch; no item biases; shorter rounds; G is trained first in the same run.

    Shape:
        scores of the whole catalogue are held for a batch: [T, B, I].
    """

    keys = {
        "M": PoolSize(int, low=1, shared=True),
        "pretrain": Key(int, low=0, shared=True),
        "d_epochs": Key(int, low=1, shared=True),
        "g_epochs": Key(int, low=1, shared=True),
        "lam": Key(float, low=0, high=1),
        **Adversary.keys,
    }
    lam: Tensor

    def __init__(
        self,
        M: int,
        pretrain: int,
        d_epochs: int,
        g_epochs: int,
        temperature: Tensor,
        lam: Tensor,
        lr: Tensor,
        l2: Tensor,
        seeds: list[int],
        D: int,
        n_users: int,
        n_items: int,
    ) -> None:
        super().__init__(temperature, lr, l2)
        self.pool_size, self.pretrain = M, pretrain
        self.d_epochs, self.round = d_epochs, d_epochs + g_epochs
        self.hyperparameters(lam=lam)
        self.discriminator = Factors(seeds, D, n_users, n_items)

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Return True: a weight switches BPR off when the game begins."""
        return True

    def start(self, positives: Positives) -> None:
        """Keep the train items, which are mixed into G's draws."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Return DNS's pick for the epochs before the game, and the loss of the side to learn."""
        B, place = batch.users.shape[1], batch.epoch - self.pretrain
        game, turn_of_d = place >= 0, place % self.round < self.d_epochs
        query = encoded.query(batch.users)
        u = rng.uniform(batch.step * B * 5, B, 5)  # one for D's draw, two for each of G's two draws
        scores = torch.stack([q @ items.T for q, items in zip(query, encoded.items, strict=True)])
        D = self.discriminator.encode(encoded.engine)
        loss_of_d = self._discriminate(batch, D, scores.detach(), u[..., 0])
        surrogate = self._generate(batch, D, scores, u[..., 1:3], u[..., 3:5])
        loss = torch.where(turn_of_d, loss_of_d, surrogate - surrogate.detach())
        hardest = encoded.score(batch.users, pool).argmax(-1)
        items = choose(pool, hardest)[..., None]
        weights = torch.where(game, 0.0, 1.0).expand(items.shape)
        return Negatives(items, weights, extra=torch.where(game, loss, torch.zeros_like(loss)))

    def _discriminate(self, batch: Batch, D: Encoded, scores: Tensor, u: Tensor) -> Tensor:
        """Return D's loss on the positives and one draw of G for each: [T, B, I], [T, B] -> [T]."""
        j = place_in(torch.softmax(scores / self.temperature, -1), u[..., None])
        positive, negative, squares = D.pairs(batch.users, batch.items, j)
        entropy = F.softplus(-positive) + F.softplus(negative.squeeze(-1))
        return (entropy + self.l2.squeeze(-1) * squares).mean(-1)

    def _generate(
        self, batch: Batch, D: Encoded, scores: Tensor, which: Tensor, u: Tensor
    ) -> Tensor:
        """Return the loss whose gradient is REINFORCE's: [T, B, I], twice [T, B, 2] -> [T]."""
        users, known = batch.users[..., None], self.positives
        ln_p = torch.log_softmax(scores, -1)
        p = ln_p.detach().exp()
        start, n = known.indptr[users], known.indptr[users + 1] - known.indptr[users]
        train_item = known.items[start + torch.minimum((u * n).long(), n - 1)]
        j = torch.where(which < self.lam, train_item, place_in(p, u))
        p_j = p.gather(-1, j)
        p_n = (1 - self.lam) * p_j + self.lam * known.contains(users, j) / n
        r = 2 * (torch.sigmoid(D.score(batch.users, j)) - 0.5)
        self.earnings.add(r.mean(-1), -(p * ln_p.detach()).sum(-1))
        return -(ln_p.gather(-1, j) * (p_j / p_n) * r).mean((1, 2))


def place_in(p: Tensor, u: Tensor) -> Tensor:
    """Draw k indices of each row as `base.place_by` draws one, by binary search in long rows.

    Shape:
        p: [T, B, I]; u: [T, B, k] -> [T, B, k] int64.
    """
    ends = p.cumsum(-1)
    place = torch.searchsorted(ends, u.contiguous() * ends[..., -1:], right=True)
    return place.clamp(max=p.shape[-1] - 1)
