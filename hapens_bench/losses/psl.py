"""The pairwise softmax loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss
from hapens_bench.losses.elementwise import softplus


def _above_zero(x: Tensor) -> Tensor:
    """Return ln of x, of the smallest number and without a gradient where x is smaller."""
    return x.clamp(min=torch.finfo(x.dtype).tiny).log()


# ln sigma(d) for each activation sigma
LOG_SIGMA: dict[str, Callable[[Tensor], Tensor]] = {
    # tanh(d) + 1 = 2 / (1 + e^(-2 d))
    "tanh": lambda d: math.log(2) - softplus(-2 * d),
    "atan": lambda d: _above_zero(torch.atan(d) + 1),
    "relu": lambda d: _above_zero((d + 1).relu()),
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
        d = (negative - positive[..., None]) / self.scale
        return torch.logsumexp(self.log_sigma(d) / self.tau, -1)
