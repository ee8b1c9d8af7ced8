"""How hard a user's negatives may be: where a model ranks the user's own train items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.kernels import Engine, cpu
from hapens_bench.samplers.pool import Positives
from hapens_bench.termination import check

CHUNK = 256  # users whose scores of all items are in memory at a time
FloatArray = NDArray[np.float64]


@torch.no_grad()
def user_hardness(users: Tensor, items: Tensor, positives: Positives) -> dict[str, FloatArray]:
    """Rank each user's train items among the items that she has not interacted with, exactly, and
    sum up by user.

    q_u(i) = share of the uninteracted items j with s_uj < s_ui. Over i in S_u: `min` (the worst
    performance on the user's items), `q10` and `median` (quantiles, linear between neighbours) and
    `mean`; `count` is |S_u|. And on the scale of the loss `probability` = exp(-max_i mean_j
    softplus(s_uj - s_ui)), the geometric mean over all uninteracted j of the probability that the
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
    """Give the train items of consecutive users: the row of the block [n], the place in that row
    [n], and where they are stored.
    """
    start, stop = positives.indptr[owner], positives.indptr[owner + 1]
    row = torch.repeat_interleave(torch.arange(len(owner), device=owner.device), stop - start)
    place = torch.arange(len(row), device=owner.device) + start[0] - start[row]
    return row, place, slice(int(start[0]), int(stop[-1]))


def _positives_below(scores: Tensor, owner: Tensor, positives: Positives, below: Tensor) -> None:
    """Do what `kernels.ranks.positives_below` does."""
    row, place, where = _places(owner, positives)
    mine = positives.items[where]
    own = scores.new_zeros(len(owner), max(positives.most, 1))
    own[row, place] = scores[row, mine]
    free = scores.clone()
    free[row, mine] = torch.inf
    below[where] = torch.searchsorted(free.sort(dim=1).values, own)[row, place]


def _probability(scores: Tensor, owner: Tensor, positives: Positives) -> Tensor:
    """Give exp(-mean_j softplus(s_uj - min_i s_ui)) of each user of a block, nan where there is no
    i.
    """
    row, _, where = _places(owner, positives)
    own = scores[row, positives.items[where]]
    worst = scores.new_full((len(owner),), torch.inf).scatter_reduce(0, row, own, "amin")
    everything = F.softplus(scores - worst[:, None]).sum(1, dtype=torch.float64)
    mine = torch.zeros_like(everything).index_add_(0, row, F.softplus(own - worst[row]).double())
    mean = (everything - mine) / positives.uninteracted(owner)
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

    found = {"min": quantile(0), "q10": quantile(0.1), "median": quantile(0.5)}
    found["mean"] = np.bincount(user, weights=q, minlength=len(count))[has] / count[has]
    full = {name: np.full(len(count), np.nan) for name in found}
    for name, values in found.items():
        full[name][has] = values
    return full | {"count": count.astype(np.float64)}
