"""GDNS: negatives by the gain of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler
from hapens_bench.samplers.pool import Positives, draw_positives

# The largest half-precision number below 1: rounding must not make a visited item look unvisited.
BELOW_ONE = 1 - 2**-11


class GDNS(Sampler):
    """Take the N of M uniform candidates with the highest gain G, against a group of positives.

        H^t(u,j) = mean over i in the group of sigma(s_uj - s_ui)
        G^t(u,j) = alpha G^{t-1} + (1 - alpha) sigma((H^{t-1} - H^t) / (H^t + eps))

    The group is N of the user's positives, drawn with replacement. H and G change for the chosen j
    only; t - 1 is the last visit of (u, j). H^0 = G^0 = 1, so items never visited come first.
    Candidates of equal gain are taken in the order of the pool, which is random.

    Zhu et al., "Gain-tuning dynamic negative sampling for recommendation", WWW 2022. It goes with
    `loss=group_hinge`.

    `reading` is of Algorithm 1, which does not say what equation 4 says: `a` is the equation; `b`
    takes the sum over i instead of the mean, which makes the first gain small; `c` adds sigma of
    the last i to H^{t-1}, so that H grows for ever and every gain is negative. `select: hardness`
    takes the N with the highest H, the paper's ablation without G; both are updated all the same.
    `select: fresh`, which is not in the paper, takes the N with the highest mean over the group of
    sigma(s_uj - s_ui) under the present model: H without its age.

    Deviations: H and G are stored in half precision, and G below 1 where alpha is below 1. A
    candidate may be drawn, and chosen, twice.

    Shape:
        H, G: [T, U, I] float16.
    """

    keys = {
        "N": Key(int, low=1, shared=True),
        "M": PoolSize(int, low=1, high=8192, shared=True),
        "alpha": Key(float, low=0, high=1),
        "eps": Key(float, above=0),
        "reading": Key(str, choices=("a", "b", "c"), shared=True),
        "select": Key(str, choices=("gain", "hardness", "fresh"), shared=True),
    }
    groups = True
    alpha: Tensor
    eps: Tensor
    H: Tensor
    G: Tensor

    def __init__(
        self, N: int, M: int, alpha: Tensor, eps: Tensor, reading: str, select: str
    ) -> None:
        super().__init__()
        self.N, self.pool_size, self.reading, self.select = N, M, reading, select
        self.hyperparameters(alpha=alpha, eps=eps)

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Return a sentence if N is more than M."""
        N, M = section["N"], section["M"]
        return [f"sampler.N is {N}, but it may be at most sampler.M, {M}"] if N > M else []

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of H and G in half precision."""
        return 2 * 2 * n_users * n_items

    def allocate(self, encoded: Encoded) -> None:
        """Register H and G, all ones."""
        (T, U, _), I = encoded.users.shape, encoded.items.shape[1]
        for name in ("H", "G"):
            self.register_buffer(
                name, torch.ones(T, U, I, dtype=torch.float16, device=encoded.users.device)
            )

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Choose N candidates, draw the group, and update H and G of the chosen."""
        users, B = batch.users, batch.users.shape[1]
        positives = draw_positives(self.positives, users, self.N, rng, batch.step * (B * self.N))
        s_i = encoded.score(users, positives)
        if self.select == "fresh":
            s_pool = encoded.score(users, pool)
            places = mean_sigmoid(s_pool, s_i).topk(self.N, dim=-1).indices
        else:
            by = self.G if self.select == "gain" else self.H
            places = highest(self._look_up(by, users, pool), self.N)
        items = pool.gather(-1, places)
        s_j = encoded.score(users, items)
        self._visit(users, items, torch.sigmoid(s_j[..., None] - s_i[..., None, :]))
        return Negatives(items, positives=positives)

    def _visit(self, users: Tensor, items: Tensor, sigma: Tensor) -> None:
        """Update H and G of the chosen items.

        Shape:
            items: [T, B, N]; sigma: [T, B, N, N], the chosen items by the group's positives.
        """
        before = self._look_up(self.H, users, items).float()
        H = {"a": sigma.mean(-1), "b": sigma.sum(-1), "c": before + sigma[..., -1]}[self.reading]
        gain = torch.sigmoid((before - H) / (H + self.eps))
        G = self.alpha * self._look_up(self.G, users, items).float() + (1 - self.alpha) * gain
        G = torch.where(self.alpha < 1, G.clamp(max=BELOW_ONE), G)
        at = self._places(users, items)
        # Not scatter_: it copies a half-precision table to another type and back.
        self.H.put_(at, H.half())
        self.G.put_(at, G.half())

    def indicators(self, t: int, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """See `Sampler.indicators`."""
        return {"H": self.H[t, users, items].float(), "G": self.G[t, users, items].float()}

    def _places(self, users: Tensor, items: Tensor) -> Tensor:
        T, U, I = self.G.shape
        trial = torch.arange(T, device=items.device)[:, None, None]
        return (trial * U + users[..., None]) * I + items

    def _look_up(self, table: Tensor, users: Tensor, items: Tensor) -> Tensor:
        return table.take(self._places(users, items))


def mean_sigmoid(s_j: Tensor, s_i: Tensor) -> Tensor:
    """Return the mean over the positives of sigma(s_j - s_i), one positive after another.

    Shape:
        s_j: [T, B, M]; s_i: [T, B, N] -> [T, B, M].
    """
    total = torch.zeros_like(s_j)
    for column in s_i.unbind(-1):
        total = total + torch.sigmoid(s_j - column[..., None])
    return total / s_i.shape[-1]


def highest(values: Tensor, N: int) -> Tensor:
    """Return the places of the N highest values of each row; among equal ones the first.

    The bits of positive numbers are ordered as the numbers are, so a value and its place make one
    whole number.

    Shape:
        values: [T, B, M] float16, none negative -> [T, B, N] int64.
    """
    M = values.shape[-1]
    places = torch.arange(M - 1, -1, -1, dtype=torch.int32, device=values.device)
    return (values.view(torch.int16).int() * M + places).topk(N, dim=-1).indices
