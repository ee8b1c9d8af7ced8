"""Linear maps that a sampler trains, T copies side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.models.base import xavier_uniform
from hapens_bench.rng import Purpose, Streams


class Gate(nn.Module):
    """x -> W x + b for each trial, W Xavier-uniform and b zero.

    One matrix product a trial rather than a batched one, so that a trial's bits do not depend on its pack-mates.

    Shape:
        weight: [T, D_out, D]; bias: [T, 1, D_out].
    """

    def __init__(self, seeds: list[int], place: int, D: int, D_out: int) -> None:
        super().__init__()
        streams = Streams(seeds, Purpose.GATES)
        self.weight = xavier_uniform(streams, place * D * D, D_out, D)
        self.bias = nn.Parameter(torch.zeros(len(seeds), 1, D_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis: [T, ..., D] -> [T, ..., D_out]."""
        rows = x.flatten(1, -2)
        mapped = torch.stack([torch.addmm(b, r, w.T) for b, r, w in zip(self.bias, rows, self.weight, strict=True)])
        return mapped.view(*x.shape[:-1], -1)
