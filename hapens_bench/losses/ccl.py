"""The cosine contrastive loss of SimpleX."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import PairLoss


class CCL(PairLoss):
    """Cosine contrastive loss: the positive near 1, negatives below a margin m.

        [1 - s_ui]_+ + (w / K) sum_k [s_uk - m]_+

    Mao et al., "SimpleX: A simple and strong baseline for collaborative filtering", CIKM 2021; s is
    a cosine: `model.similarity=cosine`. w is the weight of the negatives together.

    Deviation: SimpleX's aggregation of the user's history is a model, and not part of this loss;
    here the user side is that of the model (plain MF is the paper's MF + CCL).
    """

    keys = {"m": Key(float, low=-1, high=1), "w": Key(float, low=0)}
    m: Tensor
    w: Tensor

    def __init__(self, m: Tensor, w: Tensor) -> None:
        super().__init__()
        self.register_buffer("m", m)
        self.register_buffer("w", w)

    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """See `PairLoss.forward`."""
        above = (negative - self.m).relu().mean(-1)
        return (1 - positive).relu() + self.w[..., 0] * above
