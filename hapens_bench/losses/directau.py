"""DirectAU's loss: alignment and uniformity, without negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import Loss, Scored
from hapens_bench.models.base import Encoded, unit
from hapens_bench.samplers.base import Batch, Negatives


class DirectAU(Loss):
    """Pull a user and her item together on the sphere, and all users, all items of a batch apart.

        |x_b - y_b|^2 + gamma / 2 (uniformity of x + uniformity of y)
        uniformity of x = ln mean_{b != c} e^(-2 |x_b - x_c|^2)

    x_b is the query of row b, y_b the vector of its item, both scaled to length 1. Ranking is by
    the vectors as they are: cosines take `model.similarity=cosine`.

    Wang et al., "Towards representation alignment and uniformity in collaborative filtering", KDD
    2022. As in the authors' code, a user or an item counts as often as the batch has it, and a pair
    of its copies is one at distance 0. L2 is of the rows of the user and the item. Deviation: the
    authors' L2 is Adam's weight decay of all parameters.
    """

    negatives = False
    keys = {"gamma": Key(float, low=0)}
    gamma: Tensor

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.register_buffer("gamma", gamma)

    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """See `Loss.score`; the draws are scored for measuring hardness only."""
        q, v = encoded.query(batch.users), encoded.item(batch.items)
        losses = self(unit(q, encoded.engine), unit(v, encoded.engine))
        norms = ego.query(batch.users).square() + ego.item(batch.items).square()
        positive, negative = (q * v).sum(-1), encoded.score(batch.users, drawn.items)
        return Scored(losses, 0.5 * norms.sum(-1), positive, negative)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each row, of which the uniformities are the same for all.

        Shape:
            x, y: [T, B, D], of length 1 -> [T, B].
        """
        apart = 0.5 * (uniformity(x) + uniformity(y))
        return (x - y).square().sum(-1) + self.gamma.flatten(1) * apart[:, None]


def uniformity(x: Tensor) -> Tensor:
    """Return ln mean_{b != c} e^(-2 |x_b - x_c|^2) over rows of length 1; 0 for a single row.

    The exponent is 4 x_b . x_c - 4, so the distances are one matrix product.

    Shape:
        x: [T, B, D] -> [T].
    """
    B = x.shape[1]
    if B == 1:
        return x.new_zeros(len(x))
    totals = []
    for rows in x:  # one product per trial, so that its bits do not depend on pack-mates
        exponents = (4 * rows @ rows.T - 4).fill_diagonal_(-math.inf)
        totals.append(exponents.logsumexp(-1).logsumexp(-1))
    return torch.stack(totals) - math.log(B * (B - 1))
