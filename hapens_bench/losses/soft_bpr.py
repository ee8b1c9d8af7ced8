"""BPR with a soft factor."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.bpr import BPR


class SoftBPR(BPR):
    """Soft BPR: BPR against the negative a e_i + (1 - a) e_j.

        softplus((1 - a) (s_uj - s_ui))

    `factor` is 1 - a; at 1 it is BPR. Shi et al., "Soft BPR loss for dynamic hard negative sampling
    in recommender systems", arXiv 2211.13912 (SDNS). The losses (6), (7) and (10) printed there
    lack a sign; this is what its text and gradient say. K negatives enter as they do in BPR.

    Deviation: L2 is that of the family, over the candidate's own row.
    """

    keys = {"factor": Key(float, above=0, high=1)}
    factor: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        return super().forward(self.factor[..., 0] * positive, self.factor * negative)
