"""InfoNCE between two views of a batch's nodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def info_nce(z: Tensor, other: Tensor, tau: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of -ln e^(z_b . z'_b / tau) / sum_c e^(z_b . z'_c / tau) over counted rows.

    Rows that are not counted are left out of both sums. Van den Oord et al., "Representation
    learning with contrastive predictive coding", arXiv 1807.03748.

    Shape:
        z, other: [T, B, D], of length 1; tau: [T, 1, 1]; counted: [T, B] bool -> [T].
    """
    z = z / tau
    own, totals = (z * other).sum(-1), []
    for x, y, left in zip(z, other, ~counted, strict=True):
        # One product per trial, so that its bits do not depend on pack-mates.
        totals.append((x @ y.T).masked_fill(left, -math.inf).logsumexp(-1))
    losses = torch.where(counted, torch.stack(totals) - own, 0)
    return losses.sum(-1) / counted.sum(-1)


def first_places(index: Tensor, n: int) -> Tensor:
    """Mark the first place of each value in its row.

    Shape:
        index: [T, B] int64 below n -> [T, B] bool.
    """
    T, B = index.shape
    place = torch.arange(B, device=index.device).expand(T, B)
    first = torch.full((T, n), B, device=index.device)
    return first.scatter_reduce(1, index, place, "amin").gather(1, index) == place
