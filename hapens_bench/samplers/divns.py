"""DivNS: the hardest candidate, mixed with a diverse one from the user's cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives, draw_places

EMPTY = -1
BLOCK = 1 << 22  # numbers in the largest tensor of a block of users


class DivNS(Sampler):
    """Mix DNS's pick with an item of the user's cache that is unlike her hard negatives.

        negative = lambda e_j + (1 - lambda) e_d, j = argmax_{j in pool} s_uj

    The r next hardest of the M candidates go into u's cache. After an epoch, as many of its
    distinct items are selected as u has train items, all of them if they are fewer; the cache
    begins anew. d is a uniform draw from what was selected after the previous epoch. In the first
    epoch there is nothing, and the negative is e_j. H_u is the set of u's hard negatives j of the
    epoch, cos the cosine of item vectors at its end. `select` takes

        dissimilar: the items c of the lowest min over h in H_u of cos(c, h);
        greedy: one after another, the item of the lowest max over h in H_u and h already selected.

    In each layer the same two items are mixed; scores and cosines are of pooled vectors. The
    gradient flows to both items. lambda = 1 is DNS. `Negatives.items` names j.

    Xuan et al., "Diversity-augmented negative sampling for implicit collaborative filtering", arXiv
    2508.14468, 2026; the authors' code.

    Deviations: the paper's selection is a k-DPP, which the published code does not run: it runs
    `dissimilar`; `greedy` has a k-DPP's aim, items apart from H_u and from each other. In the code,
    H_u holds places in the pool for item ids; ours holds the items. There each selected item is
    used once, the most dissimilar first, and rows of one user in a batch share it; here d is drawn
    with replacement. Where fewer items are selected than u has train items, the code fails. Its
    lambda is .8, that of its table .5 or .7.

    Shape:
        top: [T, N, r+1] int32, for each train pair the r+1 hardest of its pool in this epoch;
        diverse: [T, N] int32, each user's selected items, again and again in the order of
        selection, in the places of her train pairs.
    """

    keys = {
        "M": PoolSize(int, low=2, shared=True),
        "r": Key(int, low=1, shared=True),
        "lam": Key(float, low=0, high=1),
        "select": Key(str, choices=("dissimilar", "greedy"), shared=True),
    }
    differentiable = True
    lam: Tensor
    top: Tensor
    diverse: Tensor

    def __init__(self, M: int, r: int, lam: Tensor, select: str, n_pairs: int) -> None:
        super().__init__()
        self.pool_size, self.r, self.n_pairs = M, r, n_pairs
        self.ordered = {"dissimilar": by_dissimilarity, "greedy": by_distance}[select]
        self.hyperparameters(lam=lam)

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Return a sentence if a pool does not have r candidates beside the hardest."""
        M, r = section["M"], section["r"]
        return [f"sampler.r is {r}, but it must be below sampler.M, {M}"] if r >= M else []

    @classmethod
    def pair_bytes(cls, section: Mapping[str, Any]) -> int:
        """Return the bytes of a pair's hardest candidates and of its diverse item."""
        return 4 * (int(section["r"]) + 2)

    def allocate(self, encoded: Encoded) -> None:
        """Register empty tables. `top` is empty between epochs, so checkpoints do without it."""
        T, device = len(encoded.users), encoded.users.device
        for name, shape in (("top", (T, self.n_pairs, self.r + 1)), ("diverse", (T, self.n_pairs))):
            table = torch.full(shape, EMPTY, dtype=torch.int32, device=device)
            self.register_buffer(name, table, persistent=name == "diverse")

    def observe(self, train: Positives) -> None:
        """Order the users by how many train items they have."""
        self.train_items = train
        self.busiest = train.indptr.diff().argsort(descending=True, stable=True)

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Note the hardest candidates, and mix the first with a diverse item."""
        users, B = batch.users, batch.users.shape[1]
        hardest = encoded.score(users, pool).topk(self.r + 1, dim=-1).indices
        top = pool.gather(-1, hardest)
        at = self.train_items.place(users, batch.items)[..., None]
        self.top.scatter_(1, at.expand_as(top), top.int())
        place = draw_places(self.train_items, users, 1, rng, batch.step * B).squeeze(-1)
        j, d = top[..., 0], self.diverse.gather(1, place).long()
        d = torch.where(d == EMPTY, j, d)
        tables = [encoded.layer(l) for l in range(encoded.n_layers)]
        mixed = [self.lam * table.item(j) + (1 - self.lam) * table.item(d) for table in tables]
        return Negatives(j[..., None], layers=torch.stack(mixed, -2)[:, :, None])

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """Select from the caches, and empty them."""
        for t, items in enumerate(encoded.items):
            unit = F.normalize(items, dim=-1)
            for users, n in self._blocks(items.shape[-1]):
                self._select(t, unit, users, n)
        self.top.fill_(EMPTY)
        return {}

    def _blocks(self, D: int) -> Iterator[tuple[Tensor, int]]:
        """Yield users with about as many train items, and how many the first of them has."""
        begin, degrees = 0, self.train_items.longest
        while begin < len(degrees) and degrees[begin] > 0:
            n = int(degrees[begin])
            end = begin + max(1, BLOCK // (self.r * n * max(n, D)))
            yield self.busiest[begin:end], n
            begin = end

    def _select(self, t: int, unit: Tensor, users: Tensor, n: int) -> None:
        """Fill the diverse items of some users, who have at most n train items.

        Shape:
            unit: [I, D], item vectors of length 1; users: [b].
        """
        start, stop = self.train_items.indptr[users], self.train_items.indptr[users + 1]
        at = start[:, None] + torch.arange(n, device=users.device)
        inside = at < stop[:, None]
        top = self.top[t][at.clamp(max=self.n_pairs - 1)].long()
        top = top.masked_fill(~inside[..., None], EMPTY)
        hard, cached = top[..., 0], top[..., 1:].flatten(1).sort(-1).values
        distinct = cached != EMPTY
        distinct[:, 1:] &= cached[:, 1:] != cached[:, :-1]
        vectors = unit[cached.clamp(min=0)], unit[hard.clamp(min=0)]
        order = self.ordered(*vectors, distinct, hard != EMPTY)
        turn = torch.arange(n, device=users.device) % distinct.sum(-1, keepdim=True).clamp(min=1)
        items = cached.gather(-1, order.gather(-1, turn))
        self.diverse[t, at[inside]] = items[inside].int()


def by_dissimilarity(cached: Tensor, hard: Tensor, distinct: Tensor, used: Tensor) -> Tensor:
    """Order a cache by the least cosine with a hard negative, the lowest first.

    Shape:
        cached: [b, C, D]; hard: [b, n, D], of length 1; distinct: [b, C]; used: [b, n], which of
        them count -> [b, C], places in the cache.
    """
    least = (cached @ hard.mT).masked_fill(~used[:, None], torch.inf).amin(-1)
    return least.masked_fill(~distinct, torch.inf).argsort(dim=-1, stable=True)


def by_distance(cached: Tensor, hard: Tensor, distinct: Tensor, used: Tensor) -> Tensor:
    """Select n of a cache, each as far as can be from the hard negatives and those before it.

    Shape:
        see `by_dissimilarity` -> [b, n], places in the cache.
    """
    nearest = (cached @ hard.mT).masked_fill(~used[:, None], -torch.inf).amax(-1)
    nearest = nearest.masked_fill(~distinct, torch.inf)
    order = []
    for _ in range(hard.shape[1]):
        place = nearest.argmin(-1, keepdim=True)
        selected = cached.gather(1, place[..., None].expand(-1, -1, cached.shape[-1]))
        cosine = (cached @ selected.mT).squeeze(-1)
        nearest = nearest.maximum(cosine).scatter(-1, place, torch.inf)
        order.append(place)
    return torch.cat(order, -1)
