"""The bilateral softmax loss."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss
from hapens_bench.losses.log_sum_exp import softmax_loss


class BSL(PairLoss):
    """Bilateral softmax loss: a temperature for the positive, another for the negatives.

        -ln [e^(s_ui/tau1) / (sum_k e^(s_uk/tau2))^(tau2/tau1)]
            = (tau2/tau1) ln sum_k e^((s_uk - s_ui)/tau2)

    Wu et al., "BSL: Understanding and improving softmax loss for recommendation", ICDE 2024; there
    s is a cosine: `model.similarity=cosine`. So over one positive's negatives, tau1 only scales the
    loss `sl` of temperature tau2, which Adam undoes but for L2.

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
        return (self.tau2 / self.tau1)[..., 0] * softmax_loss(positive, negative, self.tau2)
