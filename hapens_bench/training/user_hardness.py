"""How hard a user's negatives may be, measured by where a model ranks the user's train items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.kernels import Engine, cpu
from hapens_bench.samplers.pool import Positives
from hapens_bench.termination import check

CHUNK = 256  # users for whom all items are scored at a time
FloatArray = NDArray[np.float64]


@torch.no_grad()
def user_hardness(users: Tensor, items: Tensor, positives: Positives) -> dict[str, FloatArray]:
    """Rank each user's train items among her uninteracted items, exactly, and summarise by user.

    q_u(i) = share of the uninteracted items j with s_uj < s_ui. Over i in S_u: `min` (the worst
    performance on the user's items), `q10` and `median` (quantiles, linear between neighbours) and
    `mean`; `count` is |S_u|. On the scale of the loss, `probability` = exp(-max_i mean_j
    softplus(s_uj - s_ui)): the geometric mean over all uninteracted j of the probability that the
    worst item is preferred to j. Users without train items have nan, and count 0.

    Shape:
        users: [U, D]; items: [I, D] -> six arrays [U].
    """
    transposed = items.T.contiguous()
    below = torch.zeros_like(positives.items)
    probability = torch.full((len(users),), torch.nan, dtype=torch.float64, device=users.device)
    for begin in range(0, len(users), CHUNK):
        check()
        owner = torch.arange(begin, min(begin + CHUNK, len(users)), device=users.device)
        scores = torch.mm(users[owner], transposed)
        if positives.engine is Engine.NUMBA:
            cpu.positives_below(scores, owner, positives.indptr, positives.items, below)
        else:
            _positives_below(scores, owner, positives, below)
        probability[owner] = _probability(scores, owner, positives)
    free = positives.uninteracted(torch.arange(len(users), device=users.device)).cpu().numpy()
    return _by_user(below.cpu().numpy(), positives.indptr.cpu().numpy(), free) | {
        "probability": probability.cpu().numpy()
    }


def _places(owner: Tensor, positives: Positives) -> tuple[Tensor, Tensor, slice]:
    """Return where the train items of consecutive users are.

    Shape:
        -> row of the block [n], place in that row [n], and the slice of `positives.items`.
    """
    start, stop = positives.indptr[owner], positives.indptr[owner + 1]
    row = torch.repeat_interleave(torch.arange(len(owner), device=owner.device), stop - start)
    place = torch.arange(len(row), device=owner.device) + start[0] - start[row]
    return row, place, slice(int(start[0]), int(stop[-1]))


def _positives_below(scores: Tensor, owner: Tensor, positives: Positives, below: Tensor) -> None:
    """Count like `kernels.ranks.positives_below`, in plain torch."""
    row, place, where = _places(owner, positives)
    mine = positives.items[where]
    positive = scores.new_zeros(len(owner), max(positives.most, 1))
    positive[row, place] = scores[row, mine]
    free = scores.clone()
    free[row, mine] = torch.inf
    below[where] = torch.searchsorted(free.sort(dim=1).values, positive)[row, place]


def _probability(scores: Tensor, owner: Tensor, positives: Positives) -> Tensor:
    """Return each user's exp(-mean_j softplus(s_uj - min_i s_ui)), nan where there is no i."""
    row, _, where = _places(owner, positives)
    positive = scores[row, positives.items[where]]
    worst = scores.new_full((len(owner),), torch.inf).scatter_reduce(0, row, positive, "amin")
    everything = F.softplus(scores - worst[:, None]).sum(1, dtype=torch.float64)
    of_positives = torch.zeros_like(everything)
    of_positives.index_add_(0, row, F.softplus(positive - worst[row]).double())
    mean = (everything - of_positives) / positives.uninteracted(owner)
    return torch.where(worst.isfinite(), torch.exp(-mean), torch.nan)


def _by_user(
    below: NDArray[np.int64], indptr: NDArray[np.int64], free: NDArray[np.int64]
) -> dict[str, FloatArray]:
    count = np.diff(indptr)
    has = np.flatnonzero(count)
    user = np.repeat(np.arange(len(count)), count)
    q = below[: len(user)] / free[user]
    q = q[np.lexsort((q, user))]

    def quantile(p: float) -> FloatArray:
        at = indptr[has] + p * (count[has] - 1)
        low, high = np.floor(at).astype(np.int64), np.ceil(at).astype(np.int64)
        return q[low] + (at - low) * (q[high] - q[low])

    levels = {"min": quantile(0), "q10": quantile(0.1), "median": quantile(0.5)}
    levels["mean"] = np.bincount(user, weights=q, minlength=len(count))[has] / count[has]
    by_user = {name: np.full(len(count), np.nan) for name in levels}
    for name, values in levels.items():
        by_user[name][has] = values
    return by_user | {"count": count.astype(np.float64)}
