"""BNS: the candidate with the lowest Bayesian risk of a bad negative."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.kernels import Engine, cpu
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick
from hapens_bench.samplers.pool import Positives

CHUNK = 256  # rows for which all items are scored at a time


class BNS(Sampler):
    """Weigh how much a candidate teaches against the probability that it is a true negative.

        info(j) = sigma(s_uj - s_ui)
        unbias(j) = (1 - F)(1 - P) / (1 - F - P + 2 F P)
        j = argmin of info(j) [1 - (1 + lambda) unbias(j)] over M uniform candidates

    P(j) = pop(j) / N is the prior of being a false negative, pop the train degree, N the number of
    train pairs. F(j) is the share of the user's uninteracted items that score at most s_uj, with
    one more in the denominator, so that F < 1.

    Liu and Wang, "Bayesian negative sampling for recommendation", ICDE 2023. M = 5 and lambda = 5
    are what its code has.

    `S: null` takes F over all items, as in the paper: a step scores B I pairs. With a number, F is
    taken over that many uniform uninteracted items and the candidate itself: unbiased but for the
    one in the denominator, off by at most 1 / sqrt(4 S) (one deviation), and much faster.

    Deviations: candidates are drawn with replacement; among items of equal score F counts the
    candidate only. The authors' LightGCN file takes F over all items, train items too; their MF
    file, as here, without them.
    """

    keys = {
        "M": PoolSize(int, low=1, shared=True),
        "lam": Key(float, low=0),
        "S": Key(int, low=1, optional=True, shared=True),
    }
    lam: Tensor

    def __init__(self, M: int, lam: Tensor, S: int | None) -> None:
        super().__init__()
        self.hyperparameters(lam=lam)
        self.M, self.S, self.pool_size = M, S, M + (S or 0)

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def observe(self, train: Positives) -> None:
        """Compute every item's prior."""
        degrees = train.degrees()
        self.prior = degrees.float() / degrees.sum().clamp(min=1)

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take the candidate of the lowest risk."""
        pool, others = pool[..., : self.M], pool[..., self.M :]
        scores = encoded.score(batch.users, torch.cat([batch.items[..., None], pool], -1))
        info = torch.sigmoid(scores[..., 1:] - scores[..., :1])
        if self.S is None:
            n = self.positives.uninteracted(batch.users)[..., None]
            F = (count_below(encoded, self.positives, batch.users, pool) + 1) / (n + 1)
        else:
            s = encoded.score(batch.users, others)
            below = (s[..., None, :] < scores[..., 1:, None]).sum(-1)
            F = (below + 1) / (self.S + 2)
        P = self.prior[pool]
        unbias = (1 - F) * (1 - P) / (1 - F - P + 2 * F * P)
        return pick(pool, (info * (1 - (1 + self.lam) * unbias)).argmin(-1))


def count_below(encoded: Encoded, positives: Positives, users: Tensor, items: Tensor) -> Tensor:
    """Count, for each item of a row, the uninteracted items of the row's user that score lower.

    One product per trial and chunk, so that no count depends on pack-mates.

    Shape:
        users: [T, B]; items: [T, B, M] -> [T, B, M] int64.
    """
    below = torch.zeros_like(items)
    with torch.no_grad():
        for t, (query, table) in enumerate(zip(encoded.queries, encoded.items, strict=True)):
            for begin in range(0, users.shape[1], CHUNK):
                rows = slice(begin, begin + CHUNK)
                scores = query[users[t, rows]] @ table.T
                at = users[t, rows], items[t, rows]
                if encoded.engine is Engine.NUMBA:
                    cpu.count_below(scores, *at, positives.indptr, positives.items, below[t, rows])
                else:
                    below[t, rows] = _count_below(scores, *at, positives)
    return below


def _count_below(scores: Tensor, users: Tensor, items: Tensor, positives: Positives) -> Tensor:
    """Return the counts without the host reading any data.

    Shape:
        scores: [n, I]; users: [n]; items: [n, M] -> [n, M] int64.
    """
    own = scores.gather(1, items)
    below = torch.stack([(scores < column[:, None]).sum(1) for column in own.unbind(1)], 1)
    known, inside = positives.padded(users)
    lower = (scores.gather(1, known)[:, None] < own[..., None]) & inside[:, None]
    return below - lower.sum(-1)
