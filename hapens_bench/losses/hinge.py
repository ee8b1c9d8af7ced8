"""The pairwise hinge."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss


class Hinge(PairLoss):
    """Pairwise hinge with a margin: the sum over the negatives of [s_uk - s_ui + gamma]_+.

    Weston, Bengio and Usunier, "WSABIE", IJCAI 2011, for one negative. GDNS's group-wise loss (Zhu
    et al., WWW 2022) is its sum over the pairs of a group.
    """

    keys = {"gamma": Key(float, low=0)}
    gamma: Tensor

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.register_buffer("gamma", gamma)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        return (negative - positive[..., None] + self.gamma).relu().sum(-1)
