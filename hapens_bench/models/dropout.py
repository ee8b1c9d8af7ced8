"""Dropout from the trial's own stream, so that neither pack nor resume changes it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hapens_bench.kernels import Engine, compiled, gradients
from hapens_bench.rng import Streams


@dataclass(frozen=True)
class Noise:
    """The random numbers of one training step; without them a model drops nothing.

    Shape:
        step: [] int64, counting over all epochs.
    """

    streams: Streams
    step: Tensor

    def drop(self, x: Tensor, rate: Tensor, counter: Tensor, engine: Engine) -> Tensor:
        """Zero each entry with probability p, divide the others by 1 - p.

        As in Srivastava et al., JMLR 2014. Each entry uses one output of its trial's stream, from
        `counter` on.

        Shape:
            x: [T, ...]; rate: [T, 1, 1] of p -> [T, ...].
        """
        if engine is Engine.NUMBA:
            dropped: Tensor = gradients.Drop.apply(x, rate, self.streams.keys, int(counter))
            return dropped
        mask = compiled(_mask) if engine is Engine.CUDA else _mask
        return x * mask(self.streams, counter, rate, x[0].numel()).view_as(x)


def _mask(streams: Streams, counter: Tensor, rate: Tensor, n: int) -> Tensor:
    """Draw the factors of n entries of each trial, 0 or 1 / (1 - p): [T, n]."""
    rate = rate.flatten(1)
    return (streams.uniform(counter, n) >= rate) / (1 - rate)
