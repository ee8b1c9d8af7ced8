"""Linear maps, T copies side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.models.initial import xavier_uniform
from hapens_bench.rng import Purpose, Streams


class Linear(nn.Module):
    """x -> W x + b for each trial.

    One matrix product per trial rather than a batched one, so that a trial's bits do not depend on
    its pack-mates. That holds where D is a multiple of 8. For other D the tables of later trials
    begin at addresses for which the library sums in another order.

    Shape:
        weight: [T, D_out, D]; bias: [T, 1, D_out].
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis: [T, ..., D] -> [T, ..., D_out]."""
        rows = x.flatten(1, -2)
        mapped = torch.stack(
            [torch.addmm(b, r, w.T) for b, r, w in zip(self.bias, rows, self.weight, strict=True)]
        )
        return mapped.view(*x.shape[:-1], -1)


class Gate(Linear):
    """Linear map number `place` of a sampler, with W Xavier-uniform and b zero."""

    def __init__(self, seeds: list[int], place: int, D: int, D_out: int) -> None:
        weight = xavier_uniform(Streams(seeds, Purpose.GATES), place * D * D, D_out, D)
        super().__init__(weight, nn.Parameter(torch.zeros(len(seeds), 1, D_out)))
