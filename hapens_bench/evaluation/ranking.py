"""Full ranking: all items, for every user who has held-out items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray, sort_pairs
from hapens_bench.evaluation.beyond import BeyondAccuracy
from hapens_bench.kernels import Engine, cpu
from hapens_bench.metrics import parse_metric, per_user
from hapens_bench.termination import check

MIN_CHUNK = 16  # matrix products of very few rows take another code path with other rounding
CPU_CHUNK = 256  # rows that are still in the cache when they are ranked; best of 128 .. 4096
Scores = Callable[[Tensor], Tensor]  # of users over all items: [n] int64 -> [n, I], overwritten


@dataclass(frozen=True)
class PerUser:
    """The metrics of one trial, user by user, and the hits that they were computed from.

    `hits` has one matrix for each ranking: "", and "full/" beside candidate ranking. `overall` has
    the measures of all lists together, where they are asked for: see `BeyondAccuracy`.

    Shape:
        users: [n] int64 ids of users with at least one target; values: metric -> [n] float64;
        n_relevant: [n], the targets of each; hits: ranking -> [n, K] bool in rank order, on the
        device that ranked.
    """

    users: Tensor
    values: dict[str, Tensor]
    n_relevant: Tensor
    hits: dict[str, Tensor]
    overall: dict[str, float] = field(default_factory=dict)

    def mean(self) -> dict[str, float]:
        """Return the mean over users of each metric, nan where no user has a target."""
        return {name: float(value.mean()) for name, value in self.values.items()}

    def ranks(self) -> dict[str, Tensor]:
        """Return the places of the hits, from which every metric can be computed again.

        Shape:
            ranking -> [hits, 2] int32: user id, rank from 0.
        """
        places = {ranking: hits.nonzero().cpu() for ranking, hits in self.hits.items()}
        return {
            ranking: torch.stack([self.users[rows], ranks], 1).int()
            for ranking, (rows, ranks) in ((name, at.unbind(1)) for name, at in places.items())
        }


class Ranking(Protocol):
    """Evaluates user and item vectors, or any scores, on the targets it holds."""

    def evaluate(self, user_vectors: Tensor, item_vectors: Tensor) -> list[PerUser]:
        """Return the results of each trial: [T, U, D], [T, I, D] -> T results."""

    def evaluate_scores(self, scores: Scores) -> PerUser:
        """Return the result of a trial that has scores instead of vectors."""


class FullRanking:
    """Ranks all items but the excluded ones (the user's train items) and looks up the targets.

    Users without targets are left out. Equal scores rank by ascending item id, also at the cut-off;
    a score that is not a number ranks with the excluded. Where fewer items than K can be ranked,
    the missing places are misses.

    The trials of a pack are ranked in one batched product per block of users. The numba loops take
    them one by one: with fewer users of each in the cache, ranking took 6 to 35% longer.
    `memory_mb` bounds the block of float32 scores of all trials (never below MIN_CHUNK rows of
    one); results depend neither on it nor on pack-mates.
    """

    def __init__(
        self,
        exclude: IntArray,
        targets: IntArray,
        n_users: int,
        n_items: int,
        metrics: Sequence[str],
        device: torch.device,
        memory_mb: float,
        engine: Engine = Engine.PLAIN,
        beyond: BeyondAccuracy | None = None,
    ) -> None:
        self.n_items, self.metrics, self.engine = n_items, list(metrics), engine
        self.K = min(max(parse_metric(name)[1] for name in metrics), n_items)
        self.beyond, self.cut = beyond, parse_metric(metrics[0])[1]
        targets = sort_pairs(targets)
        users, counts = np.unique(targets[:, 0], return_counts=True)
        self.users = torch.from_numpy(users.astype(np.int64)).to(device)
        self.n_relevant = torch.from_numpy(counts).to(device)
        self.keys = torch.from_numpy(targets[:, 0] * n_items + targets[:, 1]).to(device)
        self.targets = _rows_of(users, targets)

        self.exclude = _rows_of(users, exclude[np.isin(exclude[:, 0], users)])
        counts = np.diff(self.exclude[0])
        self.exclude_row = torch.from_numpy(np.repeat(np.arange(len(users)), counts)).to(device)
        self.exclude_item = self.exclude[1].to(device)
        self.rows = max(MIN_CHUNK, int(memory_mb * 2**20 / (4 * max(n_items, 1))))
        if engine is Engine.NUMBA:
            self.rows = min(self.rows, CPU_CHUNK)
        # Trials ranked in one product; None: as many as fit.
        self.together = 1 if engine is Engine.NUMBA else None

    @torch.no_grad()
    def evaluate(self, user_vectors: Tensor, item_vectors: Tensor) -> list[PerUser]:
        """Return the results of each trial.

        Shape:
            user_vectors: [T, U, D]; item_vectors: [T, I, D] -> T results.

        Raises:
            Terminated: between blocks of users, when termination was requested.
        """
        T, size = len(user_vectors), self.together or max(1, self.rows // MIN_CHUNK)
        results: list[PerUser] = []
        for begin in range(0, T, size):
            some = slice(begin, begin + size)
            results += self._rank(user_vectors[some], item_vectors[some])
        return results

    @torch.no_grad()
    def evaluate_scores(self, scores: Scores) -> PerUser:
        """Return the result of one trial.

        Raises:
            Terminated: between blocks of users, when termination was requested.
        """
        n_users = len(self.users)
        hits, lists = self._empty(1)
        for begin in range(0, n_users, self.rows):
            check()
            end = min(begin + self.rows, n_users)
            self._mark(scores(self.users[begin:end])[None], begin, end, hits, lists)
        (result,) = self._results(hits, lists)
        return result

    def _rank(self, user_tables: Tensor, item_tables: Tensor) -> list[PerUser]:
        """Return the results of trials that are ranked together: one product per block of users."""
        T, n_users = len(user_tables), len(self.users)
        n = max(MIN_CHUNK, self.rows // T)  # users of a block
        hits, lists = self._empty(T)
        transposed = item_tables.transpose(1, 2).contiguous()
        block = torch.empty(T * n * self.n_items, device=hits.device)
        for begin in range(0, n_users, n):
            check()
            end = min(begin + n, n_users)
            query = user_tables[:, self.users[begin:end]]
            if end - begin < MIN_CHUNK:
                query = torch.cat(
                    [query, query[:, :1].expand(-1, MIN_CHUNK - (end - begin), -1)], 1
                )
            out = block[: T * query.shape[1] * self.n_items].view(T, -1, self.n_items)
            scores = torch.bmm(query, transposed, out=out)[:, : end - begin]
            self._mark(scores, begin, end, hits, lists)
        return self._results(hits, lists)

    def _empty(self, T: int) -> tuple[Tensor, Tensor | None]:
        """Return room for the hits and, where they are measured, for the lists of T trials."""
        n, device = len(self.users), self.users.device
        hits = torch.zeros(T, n, self.K, dtype=torch.bool, device=device)
        if self.beyond is None:
            return hits, None
        size = (T, n, min(self.cut, self.n_items))
        return hits, torch.full(size, -1, dtype=torch.int32, device=device)

    def _mark(
        self, scores: Tensor, begin: int, end: int, hits: Tensor, lists: Tensor | None
    ) -> None:
        """Set the hits and the lists of a block of users.

        Shape:
            scores: [T, end - begin, I], overwritten; hits: [T, n_users, K] bool;
            lists: [T, n_users, k] int32 items.
        """
        if self.engine is Engine.NUMBA:
            for t, (trial_scores, trial_hits) in enumerate(zip(scores, hits, strict=True)):
                cpu.mark_hits(trial_scores, begin, self.exclude, self.targets, trial_hits)
                if lists is not None:
                    cpu.top_lists(trial_scores, begin, lists[t])
        else:
            hits[:, begin:end], items = self._hits(scores, begin, end)
            if lists is not None:
                lists[:, begin:end] = items[..., : lists.shape[2]].int()

    def _results(self, hits: Tensor, lists: Tensor | None) -> list[PerUser]:
        """Return the metrics of each trial, with the measures of its lists."""
        results = results_by_trial(hits, self.users, self.n_relevant, self.metrics)
        if lists is None or self.beyond is None:
            return results
        k = lists.shape[2]
        both = lists.cpu().numpy(), hits[..., :k].cpu().numpy()
        return [
            replace(result, overall=self.beyond.measure(items, hit, self.cut))
            for result, items, hit in zip(results, *both, strict=True)
        ]

    def _hits(self, scores: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Return the places of the targets in the top K of a block of users, and the top K.

        Shape:
            scores: [T, n, I], overwritten -> hits [T, n, K] bool; items [T, n, K], -1 where none is
            left to rank.
        """
        first, last = int(self.exclude[0][begin]), int(self.exclude[0][end])
        scores.nan_to_num_(nan=float("-inf"), posinf=float("inf"), neginf=float("-inf"))
        scores[:, self.exclude_row[first:last] - begin, self.exclude_item[first:last]] = float(
            "-inf"
        )
        values, items = top_items(scores.flatten(0, 1), self.K)
        wanted = self.users[begin:end].repeat(len(scores))[:, None] * self.n_items + items
        at = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        ranked, shape = values > float("-inf"), (*scores.shape[:2], -1)
        hits = (self.keys[at] == wanted) & ranked
        return hits.view(shape), torch.where(ranked, items, -1).view(shape)


def results_by_trial(
    hits: Tensor, users: Tensor, n_relevant: Tensor, metrics: Sequence[str]
) -> list[PerUser]:
    """Return the metrics of each trial from the hits of all, with one copy from the device.

    Shape:
        hits: [T, n, K] bool; users, n_relevant: [n] -> T results.
    """
    T, n, _ = hits.shape
    values = per_user(hits.flatten(0, 1), n_relevant.repeat(T), metrics)
    table = torch.stack([values[name].view(T, n) for name in metrics], 1).cpu()
    ids, counts = users.cpu(), n_relevant.cpu()
    return [
        PerUser(ids, dict(zip(metrics, rows.unbind(), strict=True)), counts, {"": own})
        for rows, own in zip(table, hits, strict=True)
    ]


def _rows_of(users: IntArray, pairs: IntArray) -> tuple[Tensor, Tensor]:
    """Return the items of each user's pairs, ascending, as (start [len(users) + 1], items)."""
    pairs = sort_pairs(pairs)
    start = np.searchsorted(pairs[:, 0], np.append(users, np.iinfo(np.int64).max))
    return torch.from_numpy(start), torch.from_numpy(np.ascontiguousarray(pairs[:, 1]))


def top_items(scores: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Return the K highest scores of each row and their items, equal scores by ascending item.

    `topk` may take any of several equal scores. Rows where that matters (place K equals place
    K + 1) are sorted in full, a quarter of the block at a time to bound memory. Places that hold
    -inf are no ranked items, so any item may fill them.

    Shape:
        scores: [n, I] -> values [n, K], items [n, K].
    """
    values, items = scores.topk(min(K + 1, scores.shape[1]), dim=1)
    items, order = items.sort(dim=1)
    values, again = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    items = items.gather(1, again)
    if values.shape[1] > K:
        tied = (
            ((values[:, K] == values[:, K - 1]) & (values[:, K] > float("-inf")))
            .nonzero()
            .squeeze(1)
        )
        values, items = values[:, :K], items[:, :K]
        for rows in tied.split(max(1, len(scores) // 4)):
            full_values, full_items = scores[rows].sort(dim=1, descending=True, stable=True)
            values[rows], items[rows] = full_values[:, :K], full_items[:, :K]
    return values, items
