"""The bilateral softmax loss."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss


class BSL(PairLoss):
    """Bilateral softmax loss: a temperature for the positive, another for the negatives.

        -ln [e^(s_ui/tau1) / (sum_k e^(s_uk/tau2))^(tau2/tau1)]
            = (tau2 ln sum_k e^(s_uk/tau2) - s_ui) / tau1

    Wu et al., "BSL: Understanding and improving softmax loss for recommendation", ICDE 2024; there
    s is a cosine: `model.similarity=cosine`. At tau1 = tau2 it is `sampled_softmax` with
    `positive=out`. For one tau2, tau1 only scales the loss, which Adam undoes but for L2.

    Deviations: computed in logarithms, so it does not overflow. The form is that of IR-Benchmark
    (Yang et al., KDD 2025), which corrects the pseudo code of the paper.
    """

    keys = {"tau1": Key(float, above=0), "tau2": Key(float, above=0)}
    tau1: Tensor
    tau2: Tensor

    def __init__(self, tau1: Tensor, tau2: Tensor) -> None:
        super().__init__()
        self.register_buffer("tau1", tau1)
        self.register_buffer("tau2", tau2)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        tau1, tau2 = self.tau1[..., 0], self.tau2[..., 0]
        return (tau2 * torch.logsumexp(negative / self.tau2, -1) - positive) / tau1
