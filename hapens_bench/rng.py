"""Counter-based random numbers: a hash of (seed, purpose, step, index), with no state to keep.

A trial draws the same numbers on CPU and GPU, alone or in any pack, before and after a resume,
because a draw depends on nothing but its own coordinates. The generator is SplitMix64 (Steele, Lea
and Flood, OOPSLA 2014): output n of the stream with key k is mix(k + n * gamma), all arithmetic
modulo 2^64 on int64 tensors.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MUL1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MUL2 = -7723592293110705685  # 0x94D049BB133111EB


class Purpose(IntEnum):
    """What a stream is for; one stream per trial and purpose."""

    INIT = 1
    SHUFFLE = 2
    POOL = 3
    SAMPLER = 4
    DROPOUT = 5
    GATES = 6
    GENERATOR = 7
    LEVELS = 8
    WATCHED = 9
    QUANTILE = 10


def mix(x: Tensor) -> Tensor:
    """Scramble 64-bit words (the SplitMix64 finaliser); `x` is overwritten and returned."""
    for shift, factor in ((30, _MUL1), (27, _MUL2)):
        mask = (1 << (64 - shift)) - 1  # makes the arithmetic shift a logical one
        x ^= (x >> shift) & mask
        x *= factor
    x ^= (x >> 31) & ((1 << 33) - 1)
    return x


def stream_key(seed: int, purpose: Purpose) -> int:
    """Return the 64-bit key of a trial's stream for one purpose."""
    word = torch.tensor([seed], dtype=torch.int64) * GAMMA
    word = mix(word) + torch.tensor(int(purpose), dtype=torch.int64) * GAMMA
    return int(mix(word))


class Streams:
    """The streams of T trials for one purpose.

    Shape:
        keys: [T] int64. Every draw of shape (...) from counter c has the shape [T, ...]; its
        elements are the outputs c, c + 1, ... of each trial's own stream, in row-major order.
    """

    def __init__(
        self, seeds: list[int], purpose: Purpose, device: torch.device | str = "cpu"
    ) -> None:
        self.keys = torch.tensor(
            [stream_key(seed, purpose) for seed in seeds], dtype=torch.int64, device=device
        )

    @classmethod
    def of(cls, keys: Tensor) -> Streams:
        """Return the streams with these keys."""
        streams = cls.__new__(cls)
        streams.keys = keys
        return streams

    def keep(self, trials: Tensor) -> None:
        """Keep only the streams of the given trials (indices on the trial axis)."""
        self.keys = self.keys[trials]

    def bits(self, counter: int | Tensor, *shape: int) -> Tensor:
        """Draw uniform 64-bit words, as int64 [T, *shape]."""
        n = 1
        for size in shape:
            n *= size
        index = torch.arange(n, dtype=torch.int64, device=self.keys.device) + counter
        return mix(self.keys[:, None] + index * GAMMA).view(-1, *shape)

    def uniform(self, counter: int | Tensor, *shape: int) -> Tensor:
        """Draw uniform float32 multiples of 2^-24 in [0, 1), as [T, *shape]."""
        return to_unit(self.bits(counter, *shape))


def to_unit(bits: Tensor) -> Tensor:
    """Map 64-bit words to float32 in [0, 1) by their top 24 bits."""
    return ((bits >> 40) & ((1 << 24) - 1)).to(torch.float32) * 2.0**-24


class Scale(NamedTuple):
    """How many top bits b of a word may be scaled, and the shift and mask that follow from it.

    All three are stored because a compiled function cannot shift 1 by a number it is given.
    """

    b: int
    down: int
    mask: int


def scale_below(n_max: int) -> Scale:
    """Return the scale for integers below n <= n_max < 2^31: b = 62 - bit_length(n_max)."""
    b = 62 - n_max.bit_length()
    return Scale(b, 64 - b, (1 << b) - 1)


def to_below(bits: Tensor, n: int | Tensor, scale: Scale) -> Tensor:
    """Map 64-bit words to integers in [0, n), with the scale of some n_max >= n.

    The word's top b bits are scaled by n / 2^b, so no probability is off by more than 2^-b. For a
    million items that is below 1e-9 relative, too small for any test to detect.
    """
    return (((bits >> scale.down) & scale.mask) * n) >> scale.b
