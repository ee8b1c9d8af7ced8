"""The worst performance of a model on each user's train items, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import GroupLoss
from hapens_bench.losses.elementwise import softplus
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives


class WorstCase(GroupLoss):
    """For each user, the largest loss of a train item, over K negatives that all of them share.

        max_{i in S_u} l_u(i), l_u(i) = mean_k softplus(s_uk - s_ui)

    `maximum=smooth` takes (1/eta) ln mean_i exp(eta l_u(i)) instead: eta -> 0 is average BPR,
    eta -> infinity is the maximum, and a single bad record cannot rule a user.

    OUR READING of stage one of HAPENS (Liu et al., WWW 2023 Companion). L2 is of the user's row,
    the mean over the user's items' rows and the mean over the negatives' rows: what one positive of
    BPR has.
    """

    keys = {
        "maximum": Key(str, choices=("smooth", "exact"), shared=True),
        "eta": Key(float, above=0),
    }
    eta: Tensor

    def __init__(self, maximum: str, eta: Tensor) -> None:
        super().__init__()
        self.smooth = maximum == "smooth"
        self.register_buffer("eta", eta)

    def forward(
        self, encoded: Encoded, ego: Encoded, users: Tensor, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """See `GroupLoss.forward`."""
        items, owner, inside = self.positives.of(users)
        q = encoded.query(users)
        wide = owner[..., None]
        s_i = (q.gather(1, wide.expand(-1, -1, q.shape[2])) * encoded.item(items)).sum(-1)
        s_k = (q[..., None, :] * encoded.item(drawn.items)).sum(-1)
        l = softplus(s_k.gather(1, wide.expand(-1, -1, s_k.shape[2])) - s_i[..., None]).mean(-1)
        l = torch.where(inside, l, -torch.inf)
        worst = torch.full_like(s_k[..., 0], -torch.inf).scatter_reduce(
            1, owner, l.detach(), "amax"
        )
        gap = l - worst.gather(1, owner)  # at most 0
        n = self._sum(users, owner, inside.float())
        if self.smooth:
            eta = self.eta.flatten(1)
            losses = worst + (self._sum(users, owner, (eta * gap).exp()) / n).log() / eta
        else:
            at = gap == 0
            losses = self._sum(users, owner, torch.where(at, l, 0)) / self._sum(
                users, owner, at.float()
            )
        norms = (
            self._sum(users, owner, torch.where(inside, ego.item(items).square().sum(-1), 0)) / n
        )
        norms = (
            norms
            + ego.query(users).square().sum(-1)
            + ego.item(drawn.items).square().sum(-1).mean(-1)
        )
        return losses, 0.5 * norms

    @staticmethod
    def _sum(users: Tensor, owner: Tensor, values: Tensor) -> Tensor:
        """Return the sums of item values by user: [T, C] -> [T, B]."""
        return values.new_zeros(users.shape).scatter_add(1, owner, values)
