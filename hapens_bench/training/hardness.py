"""How hard the negatives are that the loss is given."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.kernels import Engine, cpu
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.pool import Positives

QUANTILES = (0.1, 0.5, 0.9)
CHUNK = 256  # users for whom all items are scored at a time
MOST = 128  # negatives of a positive that are measured; a sixth of a step went there at K = 1000


class HardnessMeter:
    """Four measures of an epoch's negatives, for each trial.

    ratio = s_uj / s_ui (AHNS, AAAI 2024); sigmoid = sigma(s_uj - s_ui) (SRNS, NeurIPS 2020);
    percentile = share of the user's uninteracted items scored below j; false_negative_rate = share
    of negatives that are held-out positives (on `planted`: that are truly relevant).

    The means of ratio, sigmoid and false_negative_rate are over all negatives of the epoch, each
    with the scores of the step that used it. Of more than `MOST` negatives a positive every second
    counts, or every third, and so on, evenly over the row. A ratio whose denominator is 0 is left
    out.
    Percentiles need the scores of all items. So they, and the 10, 50 and 90% quantiles of the first
    three measures, come from the first `pairs` negatives of the epoch's last step.
    """

    def __init__(
        self, false_negatives: Positives, positives: Positives, pairs: int, T: int
    ) -> None:
        self.false_negatives, self.positives, self.pairs = false_negatives, positives, pairs
        self.sums = torch.zeros(5, T, dtype=torch.float64, device=positives.items.device)

    def clear(self) -> None:
        """Start an epoch."""
        self.sums.zero_()

    def add(self, users: Tensor, positive: Tensor, negative: Tensor, items: Tensor) -> None:
        """Add a step's negatives to the sums of the epoch.

        Shape:
            users, positive: [T, B]; negative, items: [T, B, K].
        """
        every = -(-items.shape[2] // MOST)
        negative, items = (x[..., ::every].contiguous() for x in (negative, items))
        self.last = (users, positive, negative, items)
        truth = self.false_negatives
        if truth.engine is Engine.NUMBA:
            return cpu.tally(users, positive, negative, items, truth.rows, self.sums)
        ratio = negative.double() / positive.double()[..., None]
        finite = ratio.isfinite()
        false = self.false_negatives.contains(users[..., None], items)
        # One axis after the other: the bits of a sum over both depend on the number of trials.
        self.sums += torch.stack(
            [
                torch.where(finite, ratio, 0).sum(2).sum(1),
                finite.sum((1, 2)).double(),
                torch.sigmoid((negative - positive[..., None]).double()).sum(2).sum(1),
                false.sum((1, 2)).double(),
                torch.full_like(self.sums[0], items[0].numel()),
            ]
        )

    def report(self, encoded: Encoded) -> list[dict[str, float]]:
        """Return a flat dict for each trial; `encoded` holds the vectors after the last step."""
        ratio, n_ratio, sigmoid, false, n = self.sums
        n_rows = max(1, self.pairs // self.last[3].shape[2])
        users, positive, negative, items = (x[:, :n_rows] for x in self.last)
        percentile = torch.stack(
            [self._percentile(t, users[t], items[t], encoded) for t in range(len(users))]
        )
        ratios = negative / positive[..., None]
        measured = {
            "ratio": torch.where(ratios.isfinite(), ratios, torch.nan),
            "sigmoid": torch.sigmoid((negative - positive[..., None]).double()),
            "percentile": percentile,
        }
        columns = {
            "hardness/ratio": ratio / n_ratio,
            "hardness/sigmoid": sigmoid / n,
            "hardness/false_negative_rate": false / n,
            "hardness/percentile": percentile.double().mean((1, 2)),
        }
        at = torch.tensor(QUANTILES, dtype=torch.float64, device=percentile.device)
        for name, values in measured.items():
            # In double, then rounded: in single precision the last bit of a sigmoid and of an
            # interpolation depends on the number of trials.
            quantiles = values.float().double().flatten(1).nanquantile(at, dim=1).float()
            for q, column in zip(QUANTILES, quantiles, strict=True):
                columns[f"hardness/{name}_q{round(100 * q)}"] = column
        table = torch.stack([column.double() for column in columns.values()], 1).tolist()
        return [dict(zip(columns, row, strict=True)) for row in table]

    def _percentile(self, t: int, users: Tensor, items: Tensor, encoded: Encoded) -> Tensor:
        """Return the percentile of each of trial t's negatives among its user's uninteracted items.

        Shape:
            users: [n]; items: [n, K] -> [n, K] in [0, 1].
        """
        query, transposed = encoded.queries[t][users], encoded.items[t].T.contiguous()
        below = torch.zeros(items.shape, dtype=torch.int64, device=items.device)
        block = torch.empty(min(CHUNK, len(users)), transposed.shape[1], device=items.device)
        for begin in range(0, len(users), CHUNK):
            rows = slice(begin, begin + CHUNK)
            scores = torch.mm(query[rows], transposed, out=block[: len(query[rows])])
            if encoded.engine is Engine.NUMBA:
                cpu.count_below(
                    scores,
                    users[rows],
                    items[rows],
                    self.positives.indptr,
                    self.positives.items,
                    below[rows],
                )
            else:
                below[rows] = self._count_below(scores, users[rows], items[rows])
        return below / self.positives.uninteracted(users)[:, None]

    def _count_below(self, scores: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """Count, for each negative, the uninteracted items with a lower score.

        Shape:
            scores: [n, I]; users: [n]; items: [n, K] -> [n, K].
        """
        negative = scores.gather(1, items)
        below = torch.stack(
            [(scores < negative[:, k, None]).sum(1) for k in range(items.shape[1])], 1
        )
        start, stop = self.positives.indptr[users], self.positives.indptr[users + 1]
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), stop - start)
        within = (
            torch.arange(len(row), device=users.device) - (stop - start).cumsum(0)[row] + stop[row]
        )
        known = scores[row, self.positives.items[within]]
        return below.index_add_(0, row, -(known[:, None] < negative[row]).to(below.dtype))
