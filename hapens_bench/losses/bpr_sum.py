"""The weighted sum of the BPR losses of several negatives."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from hapens_bench.losses.base import PairLoss


class BPRSum(PairLoss):
    """Sum over the negatives of w_k softplus(s_uk - s_ui), w_k = 1 if the sampler has no weights.

    DNS(M,N) and Softmax(rho,N) of Shi et al., WWW 2023, minimise it. For one negative of weight 1
    it is BPR.
    """

    weighted = True

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        losses = F.softplus(negative - positive[..., None])
        return (losses if weights is None else weights * losses).sum(-1)
