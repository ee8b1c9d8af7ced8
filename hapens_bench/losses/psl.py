"""The pairwise softmax loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss
from hapens_bench.losses.elementwise import softplus
from hapens_bench.losses.log_sum_exp import LogSumExp


def tanh(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln sigma and its slope for sigma = tanh(d) + 1 = 2 / (1 + e^(-2 d))."""
    return math.log(2) - softplus(-2 * d), 1 - torch.tanh(d)


def atan(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln sigma and its slope for sigma = atan(d) + 1."""
    sigma = torch.atan(d) + 1
    return bounded_log(sigma), torch.where(sigma > 0, 1 / ((1 + d.square()) * sigma), 0)


def relu(d: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln sigma and its slope for sigma = ReLU(d + 1)."""
    sigma = d + 1
    return bounded_log(sigma), torch.where(sigma > 0, 1 / sigma, 0)


def bounded_log(x: Tensor) -> Tensor:
    """Return ln of x, or of the smallest number where x is smaller."""
    return x.clamp(min=torch.finfo(x.dtype).tiny).log()


LOG_SIGMA: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "tanh": tanh,
    "atan": atan,
    "relu": relu,
}


class PSL(PairLoss):
    """Pairwise softmax loss: the sampled softmax with another function in place of exp.

        ln sum_k sigma(d_k)^(1/tau), d_k = (s_uk - s_ui) / scale

    sigma is tanh(d) + 1, atan(d) + 1 or ReLU(d + 1); exp instead gives `sampled_softmax` with
    `positive=out` and the temperature scale * tau. Yang et al., "PSL: Rethinking and improving
    softmax loss from pairwise perspective for recommendation", NeurIPS 2024; there s is a cosine:
    `model.similarity=cosine`. `scale` is 2 in the authors' code, so that d lies in [-1, 1], where
    each sigma(d) lies between [d >= 0] and e^d.

    Deviations: ln sigma is computed without overflow for tanh. For the others it is bounded from
    below where sigma vanishes, which only inner products reach: there the authors' code gives nan.
    The variant over all pairs of a batch (`method` 2 in their code) is not offered.
    """

    keys = {
        "tau": Key(float, above=0),
        "scale": Key(float, above=0),
        "activation": Key(str, choices=tuple(LOG_SIGMA), shared=True),
    }
    tau: Tensor
    scale: Tensor

    def __init__(self, tau: Tensor, scale: Tensor, activation: str) -> None:
        super().__init__()
        self.log_sigma = LOG_SIGMA[activation]
        self.register_buffer("tau", tau)
        self.register_buffer("scale", scale)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        d = (negative.detach() - positive.detach()[..., None]).div_(self.scale)
        log_sigma, slope = self.log_sigma(d)
        y, slope = log_sigma / self.tau, slope / (self.scale * self.tau)
        value: Tensor = LogSumExp.apply(positive, negative, y, slope)
        return value
