"""StabCF: a positive that knows the user's history, against two hard candidates."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import choose
from hapens_bench.samplers.history import HistorySampler


class StabCF(HistorySampler):
    """Replace the positive by its mix with the user's history, the negative by one of hard items.

        i' = sum_h a_h h + a_i i, a ~ (e^(u.h), alpha e^(u.i))
        negative = b_0 i' + b_1 j_1 + b_2 j_2, b ~ (alpha e^(u.i'), e^(u.j_1), e^(u.j_2))
        j_1 = argmax_j u . e_j, j_2 = argmax_j i' . e_j

    in each layer, with the pooled user vector u and W train items h. The loss compares i' with the
    negative, and its L2 is of their layer 0. The gradient flows through the weights.
    `Negatives.items` names j_1 of layer 0.

    Wu et al., "StabCF: A stabilized training method for collaborative filtering", KDD 2026.

    Deviations from the authors' code: the W items are drawn with replacement (there without, if the
    user has more than W); the code's LightGCN leaves layer 0 out of the mean.
    """

    replaces_positive = True

    def hard(
        self, encoded: Encoded, layer: int, users: Tensor, mixed: Tensor, pool: Tensor
    ) -> list[Tensor]:
        """See `HistorySampler.hard`."""
        judge = replace(encoded.layer(layer), users=mixed, layers=(), factor=None)
        rows = torch.arange(users.shape[1], device=users.device).expand_as(users)
        nearest = choose(pool, judge.score(rows, pool).argmax(-1))
        return [self.hardest(encoded, layer, users, pool), nearest]
