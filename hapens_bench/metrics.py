"""Ranking metrics of each user, from the hits in a ranked list."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from hapens_bench.errors import UserError

# Prefix of metrics under full ranking where the protocol uses candidate ranking.
FULL = "full/"
NAMES = ("Recall", "NDCG", "Precision", "HitRate", "MRR")


def parse_metric(name: str) -> tuple[str, int]:
    """Return the kind and the cut-off of a metric such as `Recall@20`.

    Raises:
        UserError: when the kind is unknown or the cut-off is not an integer of at least 1.
    """
    match = re.fullmatch(rf"({'|'.join(NAMES)})@([1-9][0-9]*)", str(name))
    if not match:
        raise UserError(
            f"there is no metric {name!r}; "
            f"a metric is one of {', '.join(NAMES)} with a cut-off, such as Recall@20"
        )
    return match[1], int(match[2])


def per_user(hits: Tensor, n_relevant: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return metrics of users from the hits in their ranked lists.

    Recall@K = hits in the top K / |T_u|. NDCG@K = sum over hits of 1/log2(rank + 1), divided by the
    same sum of an ideal list of min(K, |T_u|) hits, added up in rank order, so that the same hits
    give the same bits on every device and beside every other user. Precision@K = hits / K.
    HitRate@K = whether there is a hit. MRR@K = 1/rank of the first hit, 0 without.

    Shape:
        hits: [n, Kmax] bool in rank order; n_relevant: [n], |T_u| >= 1 -> each metric [n] float64.
    """
    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
    gain = 1 / torch.log2(ranks + 1)
    ideal, ranks = gain.cumsum(0).to(hits.device), ranks.to(hits.device)
    dcg = _running_sum(hits, gain, {K for kind, K in map(parse_metric, names) if kind == "NDCG"})
    hits = hits.double()
    values = {}
    for name in names:
        kind, K = parse_metric(name)
        top = hits[:, :K]
        if kind == "Recall":
            values[name] = top.sum(1) / n_relevant
        elif kind == "NDCG":
            at = n_relevant.clamp(max=min(K, hits.shape[1])) - 1
            values[name] = dcg[min(K, hits.shape[1])] / ideal[at]
        elif kind == "Precision":
            values[name] = top.sum(1) / K
        elif kind == "HitRate":
            values[name] = top.amax(1)
        else:
            values[name] = (top / ranks[:K]).amax(1)
    return values


def _running_sum(hits: Tensor, gain: Tensor, wanted: set[int]) -> dict[int, Tensor]:
    """Return the sums of the gains of the first K hits, for each wanted K (at most Kmax).

    Shape:
        hits: [n, Kmax] bool; gain: [Kmax] float64 -> K -> [n] float64.
    """
    total = torch.zeros(len(hits), dtype=torch.float64, device=hits.device)
    last = min(max(wanted, default=0), hits.shape[1])
    sums = {}
    for k, (column, value) in enumerate(zip(hits.T.double().contiguous(), gain[:last].tolist()), 1):
        total = total + column * value
        if k in wanted or k == last:
            sums[k] = total
    return sums
