"""The sampled softmax, with a temperature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss


class SampledSoftmax(PairLoss):
    """Sampled softmax with a temperature.

        -ln [e^(s_ui/tau) / (e^(s_ui/tau) + sum_k w_k e^(s_uk/tau))]
            = ln(1 + sum_k w_k e^((s_uk - s_ui)/tau)), w_k = 1 if the sampler has no weights

    Wu et al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024
    (arXiv 2201.02327); there s is a cosine: `model.similarity=cosine`. At tau = 1 it is the K-pair
    `bpr`.
    With weights w_k = q_i / q_k, q how often an item is sampled, s/tau is corrected to s/tau - ln q
    (Yi et al., RecSys 2019).
    """

    weighted = True
    keys = {"tau": Key(float, above=0)}
    tau: Tensor

    def __init__(self, tau: Tensor) -> None:
        super().__init__()
        self.register_buffer("tau", tau)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        gap = (negative - positive[..., None]) / self.tau
        if weights is not None:
            gap = gap + weights.log()
        return torch.logsumexp(F.pad(gap, (1, 0)), -1)
