"""Linear maps that a sampler trains, T copies side by side."""

from __future__ import annotations

import torch
from torch import nn

from hapens_bench.models.base import xavier_uniform
from hapens_bench.models.linear import Linear
from hapens_bench.rng import Purpose, Streams


class Gate(Linear):
    """The linear map number `place` of a sampler, W Xavier-uniform and b zero."""

    def __init__(self, seeds: list[int], place: int, D: int, D_out: int) -> None:
        weight = xavier_uniform(Streams(seeds, Purpose.GATES), place * D * D, D_out, D)
        super().__init__(weight, nn.Parameter(torch.zeros(len(seeds), 1, D_out)))
