"""Candidate ranking: a user's one target against a fixed list of negatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray, sort_pairs
from hapens_bench.evaluation.ranking import (
    CPU_CHUNK,
    PerUser,
    Ranking,
    Scores,
    results_by_trial,
)
from hapens_bench.kernels import Engine
from hapens_bench.metrics import FULL, parse_metric
from hapens_bench.models.base import Encoded


class CandidateRanking:
    """rank = #{k : s_uj_k > s_ui} + 1 over the user's fixed negatives j_1 .. j_C.

    As in the code of SRNS (NeurIPS 2020), ties favour the target, and a negative that occurs twice
    counts twice. Deviations: a target whose score is not a number is a miss, and so is one where
    all C + 1 scores are equal. Otherwise a model that scores everything alike would be perfect.

    Shape:
        targets: [n, 2], one per user; negatives: [U, C]. `memory_mb` bounds the vectors in memory;
        results do not depend on it.
    """

    def __init__(
        self,
        targets: IntArray,
        negatives: IntArray,
        metrics: Sequence[str],
        device: torch.device,
        memory_mb: float,
        engine: Engine = Engine.PLAIN,
    ) -> None:
        targets = sort_pairs(targets)
        assert len(np.unique(targets[:, 0])) == len(targets), (
            "candidate ranking has one target a user"
        )
        self.metrics, self.engine, self.memory = list(metrics), engine, memory_mb * 2**20
        self.K = max(parse_metric(name)[1] for name in metrics)
        self.users = torch.from_numpy(np.ascontiguousarray(targets[:, 0])).to(device)
        lists = np.concatenate([targets[:, 1:], negatives[targets[:, 0]]], 1)
        self.lists = torch.from_numpy(lists).to(device)

    @torch.no_grad()
    def evaluate(self, user_vectors: Tensor, item_vectors: Tensor) -> list[PerUser]:
        """Return the results of each trial.

        Shape:
            user_vectors: [T, U, D]; item_vectors: [T, I, D] -> T results.
        """
        encoded = Encoded(user_vectors, item_vectors, self.engine)
        T, n = len(encoded.items), len(self.users)
        hits = torch.zeros(T, n, self.K, dtype=torch.bool, device=self.users.device)
        chunk = max(1, int(self.memory / (4 * T * self.lists.shape[1] * encoded.items.shape[2])))
        for begin in range(0, n, chunk):
            users, lists = (
                x[begin : begin + chunk].expand(T, -1, *x.shape[1:])
                for x in (self.users, self.lists)
            )
            self._mark(encoded.score(users, lists), begin, hits)
        return self._results(hits)

    @torch.no_grad()
    def evaluate_scores(self, scores: Scores) -> PerUser:
        """Return the result of one trial; all items are scored, for a block of users at a time."""
        n = len(self.users)
        hits = torch.zeros(1, n, self.K, dtype=torch.bool, device=self.users.device)
        for begin in range(0, n, CPU_CHUNK):
            some = slice(begin, begin + CPU_CHUNK)
            self._mark(scores(self.users[some]).gather(1, self.lists[some])[None], begin, hits)
        (result,) = self._results(hits)
        return result

    def _mark(self, scores: Tensor, begin: int, hits: Tensor) -> None:
        """Set the hits of a block of users: the target's place, where it is in the top K.

        Shape:
            scores: [T, n, 1 + C], the target's first; hits: [T, users, K] bool.
        """
        scores = scores.nan_to_num(nan=float("-inf"), posinf=float("inf"), neginf=float("-inf"))
        target, others = scores[..., :1], scores[..., 1:]
        rank = (others > target).sum(-1)
        hit = (rank < self.K) & (target[..., 0] > float("-inf")) & (others != target).any(-1)
        trials, rows = hit.nonzero(as_tuple=True)
        hits[trials, begin + rows, rank[trials, rows]] = True

    def _results(self, hits: Tensor) -> list[PerUser]:
        return results_by_trial(hits, self.users, torch.ones_like(self.users), self.metrics)


class WithFullRanking:
    """A ranking, and the full ranking of the same targets with metrics named `full/...`."""

    def __init__(self, ranking: Ranking, full: Ranking) -> None:
        self.ranking, self.full = ranking, full

    def evaluate(self, user_vectors: Tensor, item_vectors: Tensor) -> list[PerUser]:
        """Return the results of each trial; see `Ranking`."""
        both = (
            ranking.evaluate(user_vectors, item_vectors) for ranking in (self.ranking, self.full)
        )
        return [_together(result, full) for result, full in zip(*both, strict=True)]

    def evaluate_scores(self, scores: Scores) -> PerUser:
        """Return the result of one trial; see `Ranking`."""
        return _together(self.ranking.evaluate_scores(scores), self.full.evaluate_scores(scores))


def _together(result: PerUser, full: PerUser) -> PerUser:
    """Add a full ranking's metrics to a result, named `full/...`."""
    return PerUser(
        result.users,
        result.values | {f"{FULL}{name}": value for name, value in full.values.items()},
        result.n_relevant,
        {**result.hits, FULL: full.hits[""]},
        {f"{FULL}{name}": value for name, value in full.overall.items()},
    )
