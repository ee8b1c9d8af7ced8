"""ENMF's loss over the whole data."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import GroupLoss
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives


class WholeData(GroupLoss):
    """For each user, a weighted squared loss over all items, without sampling.

        sum_{i in S_u} (1 - s_ui)^2 + w sum_{j not in S_u} s_uj^2

    Computed as w q^T (V^T V) q + sum_{i in S_u} [(1 - w) s_ui^2 - 2 s_ui + 1], with the query q and
    the item vectors V: the cost is that of the positives and of V^T V, once per step.

    Chen et al., "Efficient neural matrix factorization without sampling for recommendation", TOIS
    2020. L2 is of the user's row and of its positives' rows.

    Deviations from the authors' code: it leaves out the constant 1 of each positive, and counts a
    padding item in V^T V.
    """

    keys = {"w": Key(float, low=0, high=1)}
    w: Tensor

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)

    def forward(
        self, encoded: Encoded, ego: Encoded, users: Tensor, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """See `GroupLoss.forward`; the draws are not used."""
        items, owner, inside = self.positives.of(users)
        q, w = encoded.query(users), self.w.flatten(1)
        # One product per trial, so that its bits do not depend on pack-mates.
        gram = torch.stack([V.T @ V for V in encoded.items])
        everything = (torch.stack([x @ g for x, g in zip(q, gram, strict=True)]) * q).sum(-1)
        at = owner[..., None].expand(-1, -1, q.shape[2])
        s = (q.gather(1, at) * encoded.item(items)).sum(-1)
        train_terms = torch.where(inside, (1 - w) * s.square() - 2 * s + 1, 0)
        norms = torch.where(inside, ego.item(items).square().sum(-1), 0)
        losses = (w * everything).scatter_add(1, owner, train_terms)
        return losses, 0.5 * ego.query(users).square().sum(-1).scatter_add(1, owner, norms)
