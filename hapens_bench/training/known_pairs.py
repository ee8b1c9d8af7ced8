"""Pairs of a user and an item whose truth is known, of which a run writes down what its sampler
remembers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import Split, without
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, draw_pool

NEGATIVES = 20  # true negatives of a user
KINDS = ("negative", "relabelled", "relevant")  # what the column `kind` counts


def watch(split: Split) -> dict[str, Tensor] | None:
    """List false negatives and, of each of their users, 20 true negatives; None where no truth is
    known.

    False are the relabelled pairs and, on `planted`, every relevant pair that is not observed. True
    negatives are drawn with replacement from what is neither, and no train, validation or test
    pair; they are the same for all trials.

    Shape:
        -> user, item, kind: [n] int64; kind is a place in `KINDS`.
    """
    observed = [split.train, split.valid, split.test]
    relabelled = split.train[:0] if split.relabelled is None else split.relabelled
    relevant = split.train[:0] if split.relevant is None else split.relevant
    relevant = without(relevant, np.concatenate([*observed, relabelled]), split.n_items)
    false = np.concatenate([relabelled, relevant])
    if not len(false):
        return None
    known = Positives(np.concatenate([*observed, false]), split.n_users, split.n_items)
    users = torch.from_numpy(np.unique(false[:, 0]))
    users = users[known.uninteracted(users) > 0]
    items = draw_pool(known, users[None], NEGATIVES, Streams([0], Purpose.WATCHED), 0)[0]
    parts = [(relabelled, "relabelled"), (relevant, "relevant")]
    kinds = [torch.full((len(pairs),), KINDS.index(kind)) for pairs, kind in parts]
    return {
        "user": torch.cat([users.repeat_interleave(NEGATIVES), torch.from_numpy(false[:, 0])]),
        "item": torch.cat([items.flatten(), torch.from_numpy(false[:, 1])]),
        "kind": torch.cat([torch.zeros(items.numel(), dtype=torch.int64), *kinds]),
    }
