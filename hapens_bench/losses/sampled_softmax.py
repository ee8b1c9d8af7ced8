"""The sampled softmax, with a temperature."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss
from hapens_bench.losses.elementwise import softplus
from hapens_bench.losses.log_sum_exp import softmax_loss


class SampledSoftmax(PairLoss):
    """Sampled softmax with a temperature.

        positive: in:  ln(1 + sum_k w_k e^((s_uk - s_ui)/tau))
        positive: out: ln sum_k w_k e^((s_uk - s_ui)/tau)

    w_k = 1 if the sampler has no weights. `in` has the positive among the items of the softmax: Wu
    et al., "On the effectiveness of sampled softmax loss for item recommendation", TOIS 2024 (arXiv
    2201.02327). At tau = 1 it is the K-pair `bpr`. `out` leaves it out of the sum: SL of PSL (Yang
    et al., NeurIPS 2024) and SL@K (Yang et al., KDD 2025), whose code has this form. In all of them
    s is a cosine: `model.similarity=cosine`. With weights w_k = q_i / q_k, q how often an item is
    sampled, s/tau is corrected to s/tau - ln q (Yi et al., RecSys 2019).
    """

    weighted = True
    keys = {
        "tau": Key(float, above=0),
        "positive": Key(str, choices=("in", "out"), shared=True),
    }
    tau: Tensor

    def __init__(self, tau: Tensor, positive: str) -> None:
        super().__init__()
        self.with_positive = positive == "in"
        self.register_buffer("tau", tau)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        gap = softmax_loss(positive, negative, self.tau, weights)
        return softplus(gap) if self.with_positive else gap
