"""Dropout and noise from the trial's own stream, so that neither pack nor resume changes them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.kernels import Engine, compiled, gradients
from hapens_bench.rng import Streams


@dataclass(frozen=True)
class Noise:
    """The random numbers of one training step; without them a model drops and disturbs nothing.

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

    def perturb(
        self, x: Tensor, eps: Tensor, counter: Tensor, normal: bool, engine: Engine
    ) -> Tensor:
        """Move each row by eps sign(x) * w / |w|, with w ~ U(0, 1)^D or, if `normal`, N(0, 1)^D.

        As in Yu et al., IEEE TKDE 2023. No gradient flows through the sign. Each entry uses one
        output of its trial's stream, from `counter` on; a normal one two (Box and Muller, Ann.
        Math. Stat. 1958), the second of which come after all the first.

        Shape:
            x: [T, n, D]; eps: [T, 1, 1] -> [T, n, D].
        """
        if engine is Engine.NUMBA:
            moved: Tensor = gradients.Perturb.apply(x, eps, self.streams.keys, int(counter), normal)
            return moved
        move = compiled(_move) if engine is Engine.CUDA else _move
        return x + move(self.streams, counter, x.detach(), eps, normal)


def _mask(streams: Streams, counter: Tensor, rate: Tensor, n: int) -> Tensor:
    """Draw the factors of n entries of each trial, 0 or 1 / (1 - p): [T, n]."""
    rate = rate.flatten(1)
    return (streams.uniform(counter, n) >= rate) / (1 - rate)


def _move(streams: Streams, counter: Tensor, x: Tensor, eps: Tensor, normal: bool) -> Tensor:
    """Return what `Noise.perturb` adds: [T, n, D]."""
    if normal:
        radius, angle = streams.uniform(counter, 2, *x.shape[1:]).unbind(1)
        w = (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)
    else:
        w = streams.uniform(counter, *x.shape[1:])
    return x.sign() * F.normalize(w, dim=-1) * eps
