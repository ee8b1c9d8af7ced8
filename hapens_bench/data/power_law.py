"""`large`: a generated log of any size, made in parts, so that memory holds little else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hapens_bench.config.keys import Key, problems
from hapens_bench.data.interactions import IntArray, Interactions
from hapens_bench.errors import UserError

KEYS = {
    "generator": Key(str, choices=("power_law",)),
    "users": Key(int, low=2),
    "items": Key(int, low=10),
    "clusters": Key(int, low=1),
    "observed": Key(float, low=3),
    "skew": Key(float, low=0, high=0.99),
    "noise": Key(float, above=0, high=1),
    "seed": Key(int, low=0),
}
PART = 1 << 17  # users whose interactions are drawn together, from their own generator


def generate(config: Mapping[str, Any]) -> Interactions:
    """Return a generated log without times.

    User u has n_u = max(3, Poisson(Gamma(3, observed / 3))) interactions, all with different items.
    Each item is from the user's own cluster or, with probability `noise`, from any cluster. Items
    k, k + C, k + 2C, ... are cluster k, and the r-th of them has popularity about r^-skew:
    r = floor((1 + x ((m + 1)^(1 - skew) - 1))^(1 / (1 - skew))) for uniform x and m items in a
    cluster. An item that the user already has is drawn again.

    Shape:
        -> log of N rows, sorted by user, then item.

    Raises:
        UserError: when a key is out of range, or the clusters are too small or unequal.
    """
    if sentences := list(problems("dataset", KEYS, config)):
        raise UserError("; ".join(sentences))
    U, I, C = (int(config[key]) for key in ("users", "items", "clusters"))
    generator = np.random.default_rng(int(config["seed"]))
    counts = np.maximum(3, generator.poisson(generator.gamma(3.0, config["observed"] / 3.0, U)))
    home = generator.integers(0, C, U)
    if I % C or counts.max() > I // C // 2:
        raise UserError(
            f"dataset.items is {I} in {C} clusters, but clusters must be of one size, "
            f"at least twice the {counts.max()} interactions of the most active user"
        )
    user, item = np.repeat(np.arange(U), counts), np.empty(counts.sum(), dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(counts)])
    for part, begin in enumerate(range(0, U, PART)):
        end = min(begin + PART, U)
        pairs = _distinct(
            np.random.default_rng([int(config["seed"]), part]),
            home[begin:end],
            counts[begin:end],
            I,
            C,
            float(config["skew"]),
            float(config["noise"]),
        )
        item[ends[begin] : ends[end]] = pairs % I
    return Interactions(user, item, U, I)


def _distinct(
    generator: np.random.Generator,
    home: IntArray,
    counts: IntArray,
    I: int,
    C: int,
    skew: float,
    noise: float,
) -> IntArray:
    """Draw `counts` different items for each user of a part; return user * I + item, sorted."""
    done, pairs, missing = [], np.empty(0, dtype=np.int64), counts
    while missing.any():
        owner = np.repeat(np.arange(len(home)), missing)
        x = generator.random(len(owner))
        rank = (1 + x * ((I // C + 1) ** (1 - skew) - 1)) ** (1 / (1 - skew))
        rank = np.minimum(rank.astype(np.int64), I // C) - 1
        cluster = np.where(
            generator.random(len(owner)) < noise, generator.integers(0, C, len(owner)), home[owner]
        )
        pairs = np.unique(np.concatenate([pairs, owner * I + rank * C + cluster]))
        have = np.bincount(pairs // I, minlength=len(home))
        full = (have == counts)[pairs // I]
        done.append(pairs[full])
        pairs = pairs[~full]
        missing = np.where(have > 0, counts - have, 0)
    return np.sort(np.concatenate(done))
