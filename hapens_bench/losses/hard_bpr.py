"""BPR whose gradient fades for the hardest negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss


class HardBPR(PairLoss):
    """Hard-BPR, summed over negatives.

        -ln[(a + sigma(c x - b)) / (1 + a)], x = s_ui - s_uj

    Shi et al., arXiv 2403.19276, in the form of its authors' code. a = b = 0, c = 1 is BPR. For
    a > 0 the gradient vanishes as x falls, so the hardest negatives, which are the likeliest to be
    false, count little. `form: plus` has c x + b, as in runs from before that code was known.
    Computed in logarithms, so it does not overflow.

    Deviation: the authors take the mean over several negatives.
    """

    keys = {
        "a": Key(float, low=0),
        "b": Key(float),
        "c": Key(float, above=0),
        "form": Key(str, choices=("minus", "plus"), shared=True),
    }
    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(self, a: Tensor, b: Tensor, c: Tensor, form: str) -> None:
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("b", b if form == "minus" else -b)
        self.register_buffer("c", c)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        log_sigma = F.logsigmoid(self.c * (positive[..., None] - negative) - self.b)
        return (torch.log1p(self.a) - torch.logaddexp(log_sigma, self.a.log())).sum(-1)
