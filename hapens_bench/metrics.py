"""Ranking metrics of each user, from the hits in a ranked list.

`METRICS` has the suite's. One of your own is a function of the same form, named by its module:
`protocol.metrics=[Recall@20,mine.first_page@20]`. Torch, a second to import, is imported where
metrics are computed: what lists runs asks only for their names.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hapens_bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Prefix of metrics under full ranking where the protocol uses candidate ranking.
FULL = "full/"

Metric: TypeAlias = "Callable[[Tensor, Tensor, int], Tensor]"
"""(hits [n, k] bool in rank order with k = min(K, ranked items), |T_u| [n] >= 1, K) -> [n]."""

# Measures of all lists of a trial together (`evaluation.beyond`), each with whether less is better.
# They are always taken on test, at the cut-off of the protocol's first metric.
OVERALL = {
    "Coverage": False,
    "Gini": True,
    "Popularity": True,
    "Calibration": True,
    "RecallHead": False,
    "RecallMid": False,
    "RecallTail": False,
}

NAMED = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)@([1-9][0-9]*)")


def recall(hits: Tensor, n_relevant: Tensor, K: int) -> Tensor:
    """Return the hits in the top K / |T_u|."""
    return hits.double().sum(1) / n_relevant


def ndcg(hits: Tensor, n_relevant: Tensor, K: int) -> Tensor:
    """Return the sum over hits of 1/log2(rank + 1), divided by that of an ideal list.

    An ideal list has min(K, |T_u|) hits. Gains are added up in rank order, so that the same hits
    give the same bits on every device and beside every other user.
    """
    import torch

    gain = 1 / torch.log2(torch.arange(2, hits.shape[1] + 2, dtype=torch.float64))
    total = torch.zeros(len(hits), dtype=torch.float64, device=hits.device)
    for column, value in zip(hits.T.double().contiguous(), gain.tolist()):
        total = total + column * value
    return total / gain.cumsum(0).to(hits.device)[n_relevant.clamp(max=hits.shape[1]) - 1]


def precision(hits: Tensor, n_relevant: Tensor, K: int) -> Tensor:
    """Return the hits in the top K / K."""
    return hits.double().sum(1) / K


def hit_rate(hits: Tensor, n_relevant: Tensor, K: int) -> Tensor:
    """Return 1 where there is a hit in the top K, else 0."""
    return hits.double().amax(1)


def mrr(hits: Tensor, n_relevant: Tensor, K: int) -> Tensor:
    """Return 1/rank of the first hit in the top K, 0 without."""
    import torch

    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
    return (hits.double() / ranks).amax(1)


METRICS: dict[str, Metric] = {
    "Recall": recall,
    "NDCG": ndcg,
    "Precision": precision,
    "HitRate": hit_rate,
    "MRR": mrr,
}


def parse_metric(name: str) -> tuple[str, int]:
    """Return the kind and the cut-off of a metric such as `Recall@20` or `mine.first_page@20`.

    Raises:
        UserError: when there is no such metric, or the cut-off is not an integer of at least 1.
    """
    match = NAMED.fullmatch(str(name))
    if not match or ("." not in match[1] and match[1] not in METRICS):
        raise UserError(
            f"there is no metric {name!r}; a metric is one of {', '.join(METRICS)}, or "
            "module.function of yours, with a cut-off, such as Recall@20"
            + (f" ({match[1]} is always measured)" if match and match[1] in OVERALL else "")
        )
    metric_named(match[1])
    return match[1], int(match[2])


@cache
def metric_named(kind: str) -> Metric:
    """Return the metric of a name in `METRICS`, or the function that `module.function` names.

    Raises:
        UserError: when it cannot be imported.
    """
    if kind in METRICS:
        return METRICS[kind]
    module, _, function = kind.rpartition(".")
    try:
        found: Metric = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever the module raises
        raise UserError(f"the metric {kind!r} cannot be imported: {error}") from None
    return found


def per_user(hits: Tensor, n_relevant: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return metrics of users from the hits in their ranked lists.

    Shape:
        hits: [n, Kmax] bool in rank order; n_relevant: [n], |T_u| >= 1 -> each metric [n] float64.

    Raises:
        UserError: when a metric of the user's own returns anything else.
    """
    values = {}
    for name in names:
        kind, K = parse_metric(name)
        value = metric_named(kind)(hits[:, :K], n_relevant, K)
        if value.shape != n_relevant.shape:
            raise UserError(
                f"the metric {kind!r} returned {list(value.shape)}, "
                f"but it has to return a number for each of {len(n_relevant)} users"
            )
        values[name] = value.double()
    return values


def is_overall(metric: str) -> bool:
    """Return whether a metric is measured on all lists together, so that no user has one."""
    return metric.removeprefix(FULL).partition("@")[0] in OVERALL


def less_is_better(metric: str) -> bool:
    """Return whether the smaller of two values of a metric is the better one."""
    return OVERALL.get(metric.removeprefix(FULL).partition("@")[0], False)


def is_ours(metric: str) -> bool:
    """Return whether a metric is one of the suite's."""
    return metric.removeprefix(FULL).partition("@")[0] in METRICS


def of_ranks(
    ranks: pd.DataFrame, counts: pd.DataFrame, names: list[str]
) -> dict[str, NDArray[np.float64]]:
    """Return metrics of users from the ranks of their hits; `full/...` from the ranking `full/`.

    Shape:
        ranks: columns ranking, user, rank; counts: columns user, relevant, a row a user -> each
        metric [n].

    Raises:
        KeyError: when a user of `ranks` is not in `counts`.
    """
    import torch

    place = pd.Series(range(len(counts)), index=counts["user"].to_numpy())
    relevant = torch.from_numpy(counts["relevant"].to_numpy().astype("int64"))
    values: dict[str, NDArray[np.float64]] = {}
    for prefix in ("", FULL):
        own = [name for name in names if name.startswith(FULL) == bool(prefix)]
        if not own:
            continue
        plain = [name.removeprefix(prefix) for name in own]
        K = max(parse_metric(name)[1] for name in plain)
        hits = np.zeros((len(counts), K), dtype=bool)
        rows = ranks[(ranks["ranking"] == prefix) & (ranks["rank"] < K)]
        hits[place.loc[rows["user"]].to_numpy(), rows["rank"].to_numpy()] = True
        found = per_user(torch.from_numpy(hits), relevant, plain)
        values |= {f"{prefix}{name}": value.numpy() for name, value in found.items()}
    return {name: values[name] for name in names}
