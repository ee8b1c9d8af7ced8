"""SRNS: candidates in a memory for each user, picked by score and by how much it varied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick

EPOCHS = 5  # a score's deviation is over the ends of so many epochs
EMPTY = -1


class SRNS(Sampler):
    """Pick from a memory of candidates per user: by score, and by how much the score has varied.

        j = argmax over the user's memory of P + alpha min(1, t / T0) std(P), P = sigma(s_uj - s_ui)

    t is the epoch. std is the population's, over P at the ends of the last five epochs (and at the
    beginning of the training, which counts as one). After a step, the memory of each of its users
    becomes S1 of its S1 and S2 fresh uniform candidates, drawn without replacement by
    p ~ exp(s_uj / tau).

    `memory: authors` empties the memories after each epoch, and fills an empty one with S1 fresh
    candidates. In the authors' code a memory holds places in a user's list of 3,000 candidates,
    which is another list in each epoch. `persistent` keeps the memories, as the paper says.

    Ding et al., "Simplify and robustify negative sampling for implicit collaborative filtering",
    NeurIPS 2020.

    Deviations: fresh candidates come from all uninteracted items, not from the epoch's 3,000; the
    memory is renewed by the scores before the step, not after it; past scores are not stored, but
    computed from the stored vectors of those epochs.

    Shape:
        mem: [T, U, S1] int64; past_users: [T, 5U, D], past_items: [T, 5I, D], with the vectors of
        epoch e in slot (e + 1) mod 5.
    """

    keys = {
        "S1": Key(int, low=1, shared=True),
        "S2": PoolSize(int, low=0, shared=True),
        "alpha": Key(float, low=0),
        "T0": Key(float, above=0),
        "tau": Key(float, above=0),
        "memory": Key(str, choices=("authors", "persistent"), shared=True),
    }
    alpha: Tensor
    T0: Tensor
    tau: Tensor
    mem: Tensor
    past_users: Tensor
    past_items: Tensor

    def __init__(
        self, S1: int, S2: int, alpha: Tensor, T0: Tensor, tau: Tensor, memory: str
    ) -> None:
        super().__init__()
        self.S1, self.pool_size, self.memory = S1, S1 + S2, memory
        self.hyperparameters(alpha=alpha, T0=T0, tau=tau)

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of the memories, and of the vectors of past epochs."""
        return 8 * n_users * int(section["S1"]) + 4 * EPOCHS * (n_users + n_items) * D

    def allocate(self, encoded: Encoded) -> None:
        """Register empty memories, and the vectors of five epochs.

        The first slot holds the vectors at the beginning; the others count only once they are set.
        """
        T, U, _ = encoded.users.shape
        self.register_buffer("mem", torch.full((T, U, self.S1), EMPTY, device=encoded.users.device))
        self.register_buffer("past_users", encoded.queries.repeat(1, EPOCHS, 1))
        self.register_buffer("past_items", encoded.items.repeat(1, EPOCHS, 1))

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Pick from the user's memory, then renew it.

        Rows of the same user see the same memory and renew it alike.
        """
        first = first_of_user(batch.users, encoded.users.shape[1])
        pool = rows_of(pool, first)
        memory = rows_of(self.mem, batch.users)
        memory = torch.where(memory == EMPTY, pool[..., : self.S1], memory)
        P = _sigmoid_gap(encoded, batch.users, batch.items, memory)
        weight = self.alpha * (batch.epoch / self.T0).clamp(max=1)
        chosen = (P + weight * self._deviation(batch, memory, encoded)).argmax(-1)
        self._renew(batch, encoded, torch.cat([memory, pool[..., self.S1 :]], -1), first, rng)
        return pick(memory, chosen)

    def _deviation(self, batch: Batch, memory: Tensor, encoded: Encoded) -> Tensor:
        """Return the population deviation of P over the past epochs stored so far.

        Shape:
            memory: [T, B, S1] -> [T, B, S1].
        """
        U, I, B = encoded.users.shape[1], encoded.items.shape[1], batch.users.shape[1]
        slot = torch.arange(EPOCHS, device=memory.device)
        users = (batch.users[:, None] + slot[:, None] * U).flatten(1)
        positives = (batch.items[:, None] + slot[:, None] * I).flatten(1)
        items = (memory[:, None] + slot[:, None, None] * I).flatten(1, 2)
        past = Encoded(self.past_users, self.past_items, encoded.engine)
        P = _sigmoid_gap(past, users, positives, items).view(-1, EPOCHS, B, self.S1)
        stored = (slot <= batch.epoch)[:, None, None]
        n = (batch.epoch + 1).clamp(max=EPOCHS)
        mean = torch.where(stored, P, 0).sum(1, keepdim=True) / n
        return (torch.where(stored, (P - mean).square(), 0).sum(1) / n).sqrt()

    def _renew(
        self, batch: Batch, encoded: Encoded, items: Tensor, first: Tensor, rng: Streams
    ) -> None:
        """Keep S1 of the items, drawn without replacement by exp(s / tau).

        They are the S1 highest of s / tau plus a Gumbel number.

        Shape:
            items: [T, B, S1 + S2]; first: [T, B].
        """
        size = items[0].numel()
        u = rng.uniform(batch.step * size, *items.shape[1:])
        gumbel = -torch.log(-torch.log(rows_of(u, first)))
        kept = (encoded.score(batch.users, items) / self.tau + gumbel).topk(self.S1, dim=-1).indices
        at = batch.users[..., None].expand(-1, -1, self.S1)
        self.mem.scatter_(1, at, items.gather(-1, kept))

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """Store the epoch's vectors, and empty the memories with `memory: authors`."""
        slot = (epoch + 1) % EPOCHS
        for past, table in ((self.past_users, encoded.queries), (self.past_items, encoded.items)):
            n = table.shape[1]
            past[:, slot * n : (slot + 1) * n] = table
        if self.memory == "authors":
            self.mem.fill_(EMPTY)
        return {}


def _sigmoid_gap(encoded: Encoded, users: Tensor, positives: Tensor, items: Tensor) -> Tensor:
    """Return P = sigma(s_uj - s_ui).

    Shape:
        users, positives: [T, B]; items: [T, B, M] -> [T, B, M].
    """
    scores = encoded.score(users, torch.cat([positives[..., None], items], -1))
    return torch.sigmoid(scores[..., 1:] - scores[..., :1])


def first_of_user(users: Tensor, n_users: int) -> Tensor:
    """Return, for each row of a batch, the first row of the same user.

    Shape:
        users: [T, B] -> [T, B] int64.
    """
    T, B = users.shape
    place = torch.arange(B, device=users.device).expand(T, B)
    first = users.new_full((T, n_users), B).scatter_reduce_(1, users, place, "amin")
    return first.gather(1, users)


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """Look up rows: table [T, n, K], index [T, B] -> [T, B, K]."""
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))
