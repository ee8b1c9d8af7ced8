"""BPR, with one or more negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.losses.base import PairLoss


class BPR(PairLoss):
    """Bayesian personalised ranking with K negatives.

        ln(1 + sum_k exp(s_uk - s_ui)); for K = 1, -ln sigma(s_ui - s_uj)

    Rendle et al., UAI 2009; the K-pair form is that of MixGCF's code (KDD 2021).

    Deviation: computed by softplus and logsumexp, so it does not overflow where the published code
    does.
    """

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        gap = negative - positive[..., None]
        if gap.shape[-1] == 1:
            return F.softplus(gap.squeeze(-1))
        return torch.logsumexp(F.pad(gap, (1, 0)), -1)
