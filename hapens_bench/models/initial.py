"""Initial tables, each trial's from its own stream."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hapens_bench.rng import Streams


def xavier_uniform(streams: Streams, counter: int, n: int, D: int) -> nn.Parameter:
    """Draw T tables uniform on +-sqrt(6 / (n + D)) (Glorot and Bengio, AISTATS 2010).

    Shape:
        -> [T, n, D], from the outputs counter .. counter + n*D - 1 of each trial's stream.
    """
    bound = math.sqrt(6.0 / (n + D))
    return nn.Parameter((streams.uniform(counter, n, D) * 2 - 1) * bound)


def normal(streams: Streams, counter: int, n: int, D: int, std: float | Tensor) -> nn.Parameter:
    """Draw T tables from N(0, std^2) (Box and Muller, Ann. Math. Stat. 1958).

    Shape:
        std: a number, or [T, 1, 1] -> [T, n, D], from the outputs counter .. counter + 2*n*D - 1
        of each trial's stream.
    """
    radius, angle = streams.uniform(counter, 2, n, D).unbind(1)
    return nn.Parameter(std * (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle))


def truncated_normal(streams: Streams, counter: int, n: int, D: int, std: float) -> nn.Parameter:
    """Draw T tables from N(0, std^2) truncated at two deviations, by inverting its distribution.

    Shape:
        -> [T, n, D], from the outputs counter .. counter + n*D - 1 of each trial's stream.
    """
    low = math.erfc(math.sqrt(2)) / 2  # P(z < -2)
    # The centres of the 2^24 cells, so that the mean is 0.
    u = streams.uniform(counter, n, D).double() + 2.0**-25
    return nn.Parameter((std * torch.special.ndtri(low + (1 - 2 * low) * u)).float())
