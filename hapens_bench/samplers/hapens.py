"""HAPENS (our reading): hardness personalised per user, measured by a training of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, pick, place_by
from hapens_bench.samplers.prerequisite import first_config, first_problems

STEPS = 24  # bisections of reading B: as many as float32 can tell apart
NEUTRAL = 0.5  # the level of uniform negatives


class HAPENS(Sampler):
    """Pick by the percentile that the user's level h_u asks for, among M_max uniform candidates.

    OUR READING of Liu et al., WWW 2023 Companion, of which only the first page is public
    (docs/samplers/hapens.md). Stage one trains the same model for its worst performance on each
    user's items. h_u is where that model ranks the user's worst train item among the user's
    uninteracted ones. Stage two is this sampler. With M_u = clip(h_u / (1 - h_u), 1, M_max):

        A: percentile rho ~ Beta(M_u, 1), p(rho) = M_u rho^(M_u - 1); M_u = 1 is RNS, a whole M_u
           is DNS(M_u).
        B: softmax of s_uj / tau_u, with tau_u such that the mean percentile of the draw is h_u
           (uniform where h_u <= 1/2).
        C: the hardest of M_cap candidates among those below percentile h_u, never above the worst
           item.
        D: the candidate whose percentile is nearest to h_u.
        E: A with 1 - h_u, the control of the sign.
        F: A with h_u from plain BPR.

    `level` names the statistic of `training.user_hardness` that is h_u; null is the reading's own,
    `probability` for B and `min` for the others. `shuffle` permutes the levels among users, by the
    trial's seed; with `activity`, only among users with as many train items. `M` gives all users
    the level M / (M + 1) of DNS(M) instead, without a stage one. Users who had no train item in
    stage one have the level 1/2. Percentiles are those of the pool.
    """

    keys = {
        "reading": Key(str, choices=("A", "B", "C", "D", "E", "F"), shared=True),
        "M_max": PoolSize(int, low=2, shared=True),
        "M_cap": Key(float, low=1),
        "level": Key(
            str, choices=("min", "q10", "median", "mean", "probability"), optional=True, host=True
        ),
        "shuffle": Key(bool, choices=("activity",), host=True),
        "M": Key(float, low=1, optional=True, host=True),
        "first": Key(dict, host=True),
    }
    M_cap: Tensor
    levels: Tensor

    def __init__(self, reading: str, M_max: int, M_cap: Tensor, inherited: list[Tensor]) -> None:
        super().__init__()
        self.reading, self.pool_size = reading, M_max
        self.hyperparameters(M_cap=M_cap)
        # 1 if every trial has one level for all its users.
        U = max(len(levels) for levels in inherited)
        self.hyperparameters(levels=torch.stack([levels.expand(U) for levels in inherited]))

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """See `Sampler.problems`."""
        sentences = []
        if section["M"] is not None and section["M"] > section["M_max"]:
            sentences.append(
                f"sampler.M is {section['M']}, but it may be at most sampler.M_max, "
                f"{section['M_max']}"
            )
        if section["M"] is not None and section["shuffle"]:
            sentences.append(
                "sampler.shuffle permutes the users' levels, but with sampler.M they all have the "
                "same"
            )
        for name in ("worst_case", "plain"):
            sentences += first_problems(f"sampler.first.{name}", section["first"].get(name))
        return sentences

    @classmethod
    def prerequisite(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return stage one, or None where `M` makes it unnecessary.

        Stage one has the same data, model and seed, and the trainer's settings except those in
        `first`.
        """
        section = config["sampler"]
        if section["M"] is not None:
            return None
        first = section["first"]["plain" if section["reading"] == "F" else "worst_case"]
        return first_config(config, first, leaves="user_hardness")

    @classmethod
    def inherited(
        cls,
        section: Mapping[str, Any],
        seed: int,
        artefact: Mapping[str, NDArray[np.float64]] | None,
    ) -> Tensor:
        """Return the level of each user, [U], or [1] where it is the same for all."""
        if section["M"] is not None:
            return torch.tensor([section["M"] / (section["M"] + 1)], dtype=torch.float64)
        assert artefact is not None, "stage one must be done before"
        name = section["level"] or ("probability" if section["reading"] == "B" else "min")
        h = torch.from_numpy(artefact[name].copy())
        if section["reading"] == "E":
            h = 1 - h
        if section["shuffle"]:
            known = h.isfinite().nonzero().squeeze(1)
            order = Streams([seed], Purpose.LEVELS).bits(0, len(known))[0].argsort()
            within = section["shuffle"] == "activity"
            group = (
                torch.from_numpy(artefact["count"])[known] if within else torch.zeros(len(known))
            )
            home, drawn = group.argsort(stable=True), order[group[order].argsort(stable=True)]
            h[known[home]] = h[known[drawn]]
        return h.nan_to_num(NEUTRAL)

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of a level for each user; none where `M` sets one level for all."""
        return 0 if section["M"] is not None else 8 * n_users

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Sort the candidates, hardest first, and take the one at the place the reading draws."""
        T, B, n = pool.shape
        scores, order = encoded.score(batch.users, pool).sort(dim=-1, descending=True, stable=True)
        h = self.levels.expand(T, encoded.users.shape[1]).gather(1, batch.users)[..., None]
        r = rng.uniform(batch.step * B, B)[..., None]
        whole = torch.full_like(h, n)
        if self.reading == "B":
            place = place_by(weights_of_mean(scores, h.float()), r.squeeze(-1))
        elif self.reading == "C":
            m = (h * n + 0.5).floor().clamp(1, n)
            place = (whole - m).long().squeeze(-1) + hardest_of(self.M_cap, m.float(), n, r)
        elif self.reading == "D":
            place = n - 1 - (h * n).floor().clamp(max=n - 1).long().squeeze(-1)
        else:
            M = (h / (1 - h)).clamp(1, n)
            place = hardest_of(M.float(), whole.float(), n, r)
        return pick(pool, order.gather(-1, place[..., None]).squeeze(-1))


def hardest_of(M: Tensor, m: Tensor, n: int, r: Tensor) -> Tensor:
    """Draw the place of the hardest among M of m candidates, counted from the hardest of the m.

    M may be fractional. From the hardest down, with l of the m left the next is taken with
    probability min(1, M / l). For a whole M that is the chance that the hardest of l stands in a
    random M-subset, so the law is DNS(M)'s exactly; M = 1 is uniform, M >= m the hardest.

    Shape:
        M, m: [..., 1]; r: [..., 1] uniform on [0, 1); n >= m -> [...] in 0 .. m - 1.
    """
    left = m - torch.arange(n, device=m.device)
    passed = torch.where(left >= 1, 1 - M / left.clamp(min=1), 0).clamp(min=0).cumprod(-1)
    return (passed > r).sum(-1)


def weights_of_mean(scores: Tensor, h: Tensor) -> Tensor:
    """Return softmax(s / tau) over sorted candidates, with tau such that the mean percentile is h.

    The hardest candidate comes first. Weights are uniform for h <= 1/2.

    tau is found by bisection of x in [0, 1), with 1 / tau = x / (1 - x) over the range of the
    scores. The candidate at place k of n has the percentile (n - k - 1/2) / n, so the mean is at
    most 1 - 1 / (2 n).

    Shape:
        scores: [..., n]; h: [..., 1] -> [..., n].
    """
    n = scores.shape[-1]
    percentile = (n - 0.5 - torch.arange(n, device=scores.device)) / n
    top = scores[..., :1]
    z = (scores - top) / (top - scores[..., -1:]).clamp(min=torch.finfo(scores.dtype).tiny)
    low, high = torch.zeros_like(h), torch.ones_like(h)
    for _ in range(STEPS):
        x = (low + high) / 2
        mean = (torch.softmax(x / (1 - x) * z, -1) * percentile).sum(-1, keepdim=True)
        low, high = torch.where(mean < h, x, low), torch.where(mean < h, high, x)
    return torch.softmax(low / (1 - low) * z, -1)
