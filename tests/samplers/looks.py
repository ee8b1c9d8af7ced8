"""What a slow version of a rule looks at, and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Sampler


@dataclass
class Look:
    """One positive: the vectors of user u, positive i and the candidates, and where it stands."""

    t: int
    b: int
    u: Tensor
    i: Tensor
    pool: list[int]
    table: Tensor  # all item vectors of the trial
    keys: dict[str, Any]
    batch: Batch
    rng: Streams
    sampler: Sampler
    known: list[list[int]]  # train items of every user
    pools: list[list[int]]  # of every row of the trial

    @property
    def pos(self) -> float:
        return float(self.u @ self.i)

    @property
    def cand(self) -> list[float]:
        return [float(self.u @ self.table[j]) for j in self.pool]

    def hardest(self, n: int | None = None) -> int:
        cand = self.cand[:n]
        return self.pool[max(range(len(cand)), key=lambda m: cand[m])]

    def uniform(self, *shape: int) -> Tensor:
        """Return this positive's numbers, where each positive of the batch takes `shape`."""
        B = self.batch.users.shape[1]
        size = math.prod(shape)
        return self.rng.uniform(int(self.batch.step) * B * size, B, *shape)[self.t, self.b].double()

    def linear(self, gate: str, x: Tensor) -> Tensor:
        module = getattr(self.sampler, gate)
        return (
            module.weight[self.t].detach().double() @ x + module.bias[self.t, 0].detach().double()
        )


@dataclass
class Expected:
    items: list[int]
    weights: list[float] | None = None
    layer: list[Tensor] | None = None
    extra: float | None = None
    any_order: bool = field(default=False)
    positives: list[int] | None = None
    positive_layer: Tensor | None = None
