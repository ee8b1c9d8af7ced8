"""`planted`: a generated data set in which the relevance of every pair is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hapens_bench.config.keys import Key, problems
from hapens_bench.data.interactions import IntArray, Interactions, sort_pairs
from hapens_bench.errors import UserError

KEYS = {
    "users": Key(int, low=2, high=10**6),  # drawn one by one; for more use `large`
    "items": Key(int, low=10, high=10**6),
    "clusters": Key(int, low=1, high=10**6),
    "observed": Key(int, low=2, high=10**6),
    "hidden": Key(float, low=0, high=1000),
    "skew": Key(float, low=0, high=10),
    "noise": Key(float, low=1e-9, high=1),
    "seed": Key(int, low=0),
}


def generate(config: Mapping[str, Any]) -> tuple[Interactions, IntArray]:
    """Return a generated log and all relevant pairs.

    Items belong to clusters and have popularity proportional to rank^-skew. A user likes one to
    three clusters. Her relevant items R_u are drawn without replacement by affinity times the
    square root of popularity, where affinity is her weight for the item's cluster, plus `noise`
    spread over all clusters. The log has the exposed part of R_u, drawn by popularity:
    |R_u| / (1 + hidden) items, about `observed` rows per user. So R_u minus train are exactly the
    false negatives.

    Shape:
        -> log of N rows with times; relevant [n, 2].

    Raises:
        UserError: when a key is out of range or there are too few items.
    """
    keys = {key: value for key, value in config.items() if key != "paper"}
    if sentences := list(problems("dataset", KEYS, keys)):
        raise UserError("; ".join(sentences))
    U, I, C = (int(config[key]) for key in ("users", "items", "clusters"))
    generator = np.random.default_rng(int(config["seed"]))
    popularity = np.arange(1, I + 1) ** -float(config["skew"])
    generator.shuffle(popularity)
    cluster = generator.integers(0, C, I)
    observed = np.maximum(3, generator.poisson(generator.gamma(3.0, config["observed"] / 3.0, U)))
    relevant = np.ceil(observed * (1 + float(config["hidden"]))).astype(np.int64)
    if relevant.max() > I // 2:
        raise UserError(
            f"dataset.items is {I}, but a user of planted has {relevant.max()} relevant items; "
            "use more items or lower dataset.observed or dataset.hidden"
        )
    users, items, truth = [], [], []
    for u in range(U):
        liked = generator.choice(C, size=min(C, int(generator.integers(1, 4))), replace=False)
        weight = np.full(C, float(config["noise"]) / C)
        weight[liked] += generator.dirichlet(np.ones(len(liked)))
        true = _without_replacement(
            generator, weight[cluster] * np.sqrt(popularity), int(relevant[u])
        )
        seen = true[_without_replacement(generator, popularity[true], int(observed[u]))]
        truth.append(np.column_stack([np.full(len(true), u), true]))
        users.append(np.full(len(seen), u))
        items.append(seen)
    user, item = np.concatenate(users).astype(np.int64), np.concatenate(items).astype(np.int64)
    time = generator.permutation(len(user)).astype(np.int64)
    return Interactions(user, item, U, I, time), sort_pairs(np.concatenate(truth))


def _without_replacement(generator: np.random.Generator, weight: np.ndarray, n: int) -> IntArray:
    """Draw n places without replacement by weight (Gumbel top-n)."""
    keys = np.log(weight) + generator.gumbel(size=len(weight))
    return np.argsort(-keys, kind="stable")[:n].astype(np.int64)
