"""No negatives at all."""

from __future__ import annotations

from hapens_bench.samplers.base import Sampler


class NoSampler(Sampler):
    """Stand in for a sampler where the model is fitted to the train pairs, without negatives.

    It is never constructed: nothing asks it to draw.
    """
