"""How hard the negatives were that the loss really saw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives

QUANTILES = (0.1, 0.5, 0.9)


class PairSet:
    """A set of (user, item) pairs with vectorised membership."""

    def __init__(self, pairs: IntArray, n_items: int, device: torch.device) -> None:
        self.n_items = n_items
        self.keys = torch.from_numpy(np.unique(pairs[:, 0] * n_items + pairs[:, 1])).to(device)

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Tell which pairs are in the set, for broadcastable index tensors."""
        if not len(self.keys):
            return torch.zeros_like(users + items, dtype=torch.bool)
        wanted = users * self.n_items + items
        at = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return self.keys[at] == wanted


class HardnessMeter:
    """Four measures of an epoch's negatives, each by trial.

    ratio = s_uj / s_ui (AHNS, AAAI 2024); sigmoid = sigma(s_uj - s_ui) (SRNS, NeurIPS 2020); percentile = share of the
    user's uninteracted items scored below j; false_negative_rate = share of negatives that are held-out positives (on
    `planted`: that are truly relevant).

    The means of ratio, sigmoid and false_negative_rate are over all negatives of the epoch, each with the scores of the
    step that used it; a ratio whose denominator is 0 is left out. Percentiles need the scores of all items, so they, and the
    10, 50 and 90% quantiles of the first three measures, come from the first `pairs` negatives of the epoch's last step.
    """

    def __init__(self, false_negatives: PairSet, positives: Positives, pairs: int) -> None:
        self.false_negatives, self.positives, self.pairs = false_negatives, positives, pairs
        self.sums: Tensor | None = None
        self.ratios: Tensor | None = None

    def add(self, users: Tensor, positive: Tensor, negative: Tensor, items: Tensor) -> None:
        """Count a step.

        Shape:
            users, positive: [T, B]; negative, items: [T, B, K].
        """
        ratio = negative.double() / positive.double()[..., None]
        finite = ratio.isfinite()
        false = self.false_negatives.contains(users[..., None], items)
        sums = torch.stack(
            [
                torch.where(finite, ratio, 0).sum((1, 2)),
                finite.sum((1, 2)).double(),
                torch.sigmoid((negative - positive[..., None]).double()).sum((1, 2)),
                false.sum((1, 2)).double(),
                torch.full_like(finite[:, 0, 0], items[0].numel(), dtype=torch.float64),
            ]
        )
        self.sums = sums if self.sums is None else self.sums + sums

    def report(
        self, batch: Batch, encoded: Encoded, scores: tuple[Tensor, Tensor], items: Tensor
    ) -> list[dict[str, float]]:
        """Close the epoch with its last step; one flat dict a trial.

        Shape:
            encoded: the vectors after the step; scores: positive [T, B] and negative [T, B, K] before it; items: [T, B, K].
        """
        assert self.sums is not None
        ratio, n_ratio, sigmoid, false, n = self.sums.tolist()
        positive, negative = scores
        n_rows = max(1, self.pairs // items.shape[2])
        reports = []
        for t in range(len(ratio)):
            row = {
                "hardness/ratio": ratio[t] / n_ratio[t] if n_ratio[t] else float("nan"),
                "hardness/sigmoid": sigmoid[t] / n[t],
                "hardness/false_negative_rate": false[t] / n[t],
            }
            gap = (negative[t] - positive[t, :, None])[:n_rows].flatten()
            ratios = (negative[t] / positive[t, :, None])[:n_rows].flatten()
            users = batch.users[t, :n_rows]
            percentile = self._percentile(users, items[t, :n_rows], encoded.users[t], encoded.items[t]).flatten()
            row["hardness/percentile"] = float(percentile.double().mean())
            measured = {
                "ratio": ratios[ratios.isfinite()],
                "sigmoid": torch.sigmoid(gap),
                "percentile": percentile,
            }
            for name, values in measured.items():
                for q in QUANTILES:
                    value = torch.quantile(values.float(), q) if len(values) else torch.tensor(float("nan"))
                    row[f"hardness/{name}_q{round(100 * q)}"] = float(value)
            reports.append(row)
        return reports

    def _percentile(self, users: Tensor, items: Tensor, user_table: Tensor, item_table: Tensor) -> Tensor:
        """Rank negatives among all uninteracted items of their user.

        Shape:
            users: [n]; items: [n, K]; tables: [U, D] and [I, D] -> [n, K] in [0, 1].
        """
        scores = user_table[users] @ item_table.T
        own = scores.gather(1, items)
        below = torch.stack([(scores < own[:, k, None]).sum(1) for k in range(items.shape[1])], 1)
        start, stop = self.positives.indptr[users], self.positives.indptr[users + 1]
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), stop - start)
        within = torch.arange(len(row), device=users.device) - (stop - start).cumsum(0)[row] + stop[row]
        known = scores[row, self.positives.items[within]]
        below.index_add_(0, row, -(known[:, None] < own[row]).to(below.dtype))
        return below / self.positives.uninteracted(users)[:, None]
