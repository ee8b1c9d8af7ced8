"""Which trials are not worth their later epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Curve = Mapping[int, float]  # the best value so far, by epoch


def median_floor(curves: Sequence[Curve], warmup: int) -> dict[int, float]:
    """Return what a trial's best value so far must reach at each epoch from `warmup` on.

    It is the median of the earlier trials: the median stopping rule (Golovin et al., KDD 2017), on
    the best value so far instead of the running mean. A trial that ended earlier, pruned ones
    included, keeps its last value. Earlier trials are those of earlier batches, so pruning depends
    neither on packs nor on the order of training, and an interrupted batch is pruned alike when it
    resumes.
    """
    epochs = sorted({epoch for curve in curves for epoch in curve if epoch >= warmup})
    return {epoch: float(np.median([_until(curve, epoch) for curve in curves])) for epoch in epochs}


def _until(curve: Curve, epoch: int) -> float:
    return max(value for at, value in curve.items() if at <= epoch)
