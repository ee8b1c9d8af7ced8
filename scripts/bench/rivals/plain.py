"""MF with BPR as the field's research scripts train it on a CPU: the slow side of our benchmarks.

Written anew, it keeps what these scripts have in common: candidates from a Python loop of
`random.choice` with rejection, tables indexed as `table[idx]`, all M candidate vectors of a batch
in memory, autograd, the default Adam, and an evaluation of users one by one with a dict and a heap,
in one process from numpy scores. There is no graph model around MF. As in the scripts of the MixGCF
family, a user's positives are a list, every draw is from a fresh `range`, and the scores of the
candidates are part of autograd's graph. `tidy=True` fixes what a careful author would fix first: a
set, a prepared list, no graph.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

ALPHA, BETA, P = 1.0, 0.1, -2  # AHNS on Phones and Tools
LR, L2 = 1e-3, 1e-4
METRICS = ("Recall", "NDCG", "Precision", "HitRate", "MRR")
USER_BATCH = 2048


class PlainMF:
    """MF trained on pairs [N, 2]; `draw_seconds` is what the last `steps` spent on candidates."""

    def __init__(
        self,
        pairs: np.ndarray,
        n_users: int,
        n_items: int,
        D: int = 64,
        B: int = 2048,
        seed: int = 0,
        tidy: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.random, self.shuffler = random.Random(seed), np.random.default_rng(seed)
        self.user_table = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_users, D)))
        self.item_table = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_items, D)))
        self.optimizer = torch.optim.Adam([self.user_table, self.item_table], lr=LR)
        self.item_list = list(range(n_items))
        self.tidy = tidy
        self.train_user_set = {
            user: set(items) if tidy else items for user, items in by_user(pairs).items()
        }
        self.pairs, self.B = torch.from_numpy(np.asarray(pairs, dtype=np.int64)), B
        self.shuffled, self.position = self.pairs, len(pairs)  # so that the first step shuffles
        self.draw_seconds = 0.0

    def steps(self, n: int, sampler: str, M: int) -> float:
        """Train n batches and return the seconds; an epoch's incomplete last batch is dropped."""
        if sampler not in ("rns", "dns", "ahns") or (sampler == "rns" and M != 1):
            raise ValueError(
                f"sampler is {sampler!r} and M is {M}, but this trains rns with M=1, dns and ahns"
            )
        self.draw_seconds, begin = 0.0, time.perf_counter()
        for _ in range(n):
            batch = self._next_batch()
            begin_draw = time.perf_counter()
            candidates = torch.LongTensor(self._draw(batch, M))
            self.draw_seconds += time.perf_counter() - begin_draw
            self._step(batch[:, 0], batch[:, 1], candidates, sampler)
        return time.perf_counter() - begin

    def _next_batch(self) -> Tensor:
        if self.position + self.B > len(self.pairs):
            self.shuffled, self.position = self.pairs[self.shuffler.permutation(len(self.pairs))], 0
        self.position += self.B
        return self.shuffled[self.position - self.B : self.position]

    def _draw(self, batch: Tensor, M: int) -> list[list[int]]:
        choice, candidates = self.random.choice, []
        for user, _ in batch.numpy():
            known, drawn = self.train_user_set[int(user)], []
            for _ in range(M):
                while True:
                    item = choice(self.item_list if self.tidy else range(len(self.item_list)))
                    if item not in known:
                        break
                drawn.append(item)
            candidates.append(drawn)
        return candidates

    def _step(self, users: Tensor, items: Tensor, candidates: Tensor, sampler: str) -> None:
        j = candidates[:, 0] if sampler == "rns" else self._pick(users, items, candidates, sampler)
        u, i, j = self.user_table[users], self.item_table[items], self.item_table[j]
        pos, neg = (u * i).sum(-1), (u * j).sum(-1)
        norms = u.norm() ** 2 + i.norm() ** 2 + j.norm() ** 2
        loss = torch.log(1 + torch.exp(neg - pos)).mean() + L2 * norms / 2 / len(users)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _pick(self, users: Tensor, items: Tensor, candidates: Tensor, sampler: str) -> Tensor:
        with torch.set_grad_enabled(not self.tidy):
            return self._best(users, items, candidates, sampler)

    def _best(self, users: Tensor, items: Tensor, candidates: Tensor, sampler: str) -> Tensor:
        u = self.user_table[users]
        scores = (u.unsqueeze(1) * self.item_table[candidates]).sum(-1)  # [B, M, D] -> [B, M]
        if sampler == "dns":
            best = scores.argmax(1)
        else:
            pos = (u * self.item_table[items]).sum(-1, keepdim=True)
            best = torch.abs(scores - BETA * (pos + ALPHA) ** (P + 1)).argmin(1)
        return candidates[torch.arange(len(users)), best]


def by_user(pairs: np.ndarray) -> dict[int, list[int]]:
    """Return the items of each user."""
    items: dict[int, list[int]] = defaultdict(list)
    for user, item in pairs.tolist():
        items[user].append(item)
    return items


def evaluate(
    user_table: Tensor,
    item_table: Tensor,
    train_pairs: np.ndarray,
    test_pairs: np.ndarray,
    Ks: Sequence[int] = (20, 50),
    limit_users: int | None = None,
) -> tuple[dict[str, float], float, int]:
    """Return mean metrics, seconds and the number of users evaluated, up to `limit_users`.

    Users without test items are left out. Reading pairs is not timed.
    """
    train, test, n_items = by_user(train_pairs), by_user(test_pairs), len(item_table)
    users, rows = sorted(test)[:limit_users], []
    begin = time.perf_counter()
    for start in range(0, len(users), USER_BATCH):
        batch = users[start : start + USER_BATCH]
        rate = (user_table.detach()[torch.LongTensor(batch)] @ item_table.detach().T).numpy()
        for user, rating in zip(batch, rate):
            candidates = list(set(range(n_items)) - set(train.get(user, ())))
            rows.append(_metrics(rating, candidates, set(test[user]), Ks))
    metrics = dict(
        zip([f"{name}@{K}" for K in Ks for name in METRICS], np.mean(rows, axis=0).tolist())
    )
    return metrics, time.perf_counter() - begin, len(users)


def _metrics(
    rating: np.ndarray, candidates: list[int], wanted: set[int], Ks: Sequence[int]
) -> list[float]:
    """Return the METRICS of one user for each K."""
    score = {item: rating[item] for item in candidates}
    hits = [float(item in wanted) for item in heapq.nlargest(max(Ks), score, key=score.__getitem__)]
    values: list[float] = []
    for K in Ks:
        top = hits[:K]
        gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(top))
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(K, len(wanted))))
        first = top.index(1.0) + 1 if 1.0 in top else math.inf
        values += [sum(top) / len(wanted), gain / ideal, sum(top) / K, float(any(top)), 1 / first]
    return values
