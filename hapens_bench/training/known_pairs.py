"""User-item pairs with known relevance, for inspecting what a sampler remembers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import Split, without
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, draw_pool

NEGATIVES = 20  # true negatives drawn for each user
KINDS = ("negative", "relabelled", "relevant")  # what the numbers in column `kind` mean


def watch(split: Split) -> dict[str, Tensor] | None:
    """List false negatives, and 20 true negatives for each of their users; None if there are none.

    False negatives are the relabelled pairs and, on `planted`, every relevant pair that is not
    observed. True negatives are drawn with replacement from the pairs that are neither, and that
    are not in train, validation or test. They are the same for all trials.

    Shape:
        -> user, item, kind: [n] int64; kind is an index into `KINDS`.
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
    false_kinds = [(relabelled, "relabelled"), (relevant, "relevant")]
    kinds = [torch.full((len(pairs),), KINDS.index(kind)) for pairs, kind in false_kinds]
    return {
        "user": torch.cat([users.repeat_interleave(NEGATIVES), torch.from_numpy(false[:, 0])]),
        "item": torch.cat([items.flatten(), torch.from_numpy(false[:, 1])]),
        "kind": torch.cat([torch.zeros(items.numel(), dtype=torch.int64), *kinds]),
    }
