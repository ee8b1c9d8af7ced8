"""BPR whose gradient fades for the hardest negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.checks import Key
from hapens_bench.losses.base import Loss


class HardBPR(Loss):
    """Hard-BPR, -ln[(sigma(c x + b) + a) / (1 + a)] with x = s_ui - s_uj, summed over the negatives; a = b = 0, c = 1 is BPR.

    Shi et al., arXiv 2403.19276. **Unverified**: the paper's text was not at hand, and the form is that of one third-party
    implementation that cites it; another one weighs differently. For a > 0 the gradient vanishes as x falls, so that the hardest
    negatives, which are the likeliest to be false, count little. Computed in logarithms, so it does not overflow.
    """

    keys = {"a": Key(float, low=0), "b": Key(float), "c": Key(float, above=0)}
    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(self, a: Tensor, b: Tensor, c: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("b", b)
        self.register_buffer("c", c)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `Loss.forward`."""
        log_sigma = F.logsigmoid(self.c * (positive[..., None] - negative) + self.b)
        return (torch.log1p(self.a) - torch.logaddexp(log_sigma, self.a.log())).sum(-1)
