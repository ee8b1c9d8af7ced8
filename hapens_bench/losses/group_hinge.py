"""GDNS's group-wise hinge."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import GroupLoss
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives


class GroupHinge(GroupLoss):
    """For each user, the hinge summed over a group of N positives i and one of N negatives j.

        sum over i and j of [s_uj - s_ui + gamma]_+

    Zhu et al., "Gain-tuning dynamic negative sampling for recommendation", WWW 2022, equation 6
    (equation 3 is printed with the other sign). `pairs: matched` sums over the N pairs (i_k, j_k)
    only: the pairwise hinge, the paper's ablation without groups. L2 is of the user's row and of
    the rows of both groups; the paper states none.
    """

    keys = {"gamma": Key(float, low=0), "pairs": Key(str, choices=("all", "matched"), shared=True)}
    gamma: Tensor

    def __init__(self, gamma: Tensor, pairs: str) -> None:
        super().__init__()
        self.pairs = pairs
        self.register_buffer("gamma", gamma)

    def forward(
        self, encoded: Encoded, ego: Encoded, users: Tensor, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """See `GroupLoss.forward`."""
        q = encoded.query(users)[..., None, :]
        positive = (q * encoded.item(drawn.group)).sum(-1)
        negative = (q * encoded.item(drawn.items)).sum(-1) + self.gamma
        if self.pairs == "all":
            losses = (negative[..., None] - positive[..., None, :]).relu().sum((-1, -2))
        else:
            losses = (negative - positive).relu().sum(-1)
        squares = ego.query(users).square().sum(-1)
        for group in (drawn.group, drawn.items):
            squares = squares + ego.item(group).square().sum((-1, -2))
        return losses, 0.5 * squares
