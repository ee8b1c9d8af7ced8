"""DCANS: the hardest candidate, mixed with a positive that knows the user's history."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.models.base import Encoded
from hapens_bench.samplers.history import HistorySampler


class DCANS(HistorySampler):
    """Mix the positive with W of the user's train items, and the result with the hardest candidate.

        i' = sum_h a_h h + a_i i, a ~ (e^(u.h), alpha e^(u.i))
        negative = (1 - n) i' + n j, n = e^(u.j) / (e^(u.j) + alpha e^(u.i')), j = argmax_j u . e_j

    in each layer, with the pooled user vector u. The positive of the loss is i itself. The gradient
    flows through the weights. `Negatives.items` names the winners of layer 0.

    Wu et al., CIKM 2025 (code: Wu-Xi/DCANS).

    Deviations from the authors' code: the W items are drawn with replacement (there without, if the
    user has more than W); the code's LightGCN leaves layer 0 out of the mean.
    """

    def hard(
        self, encoded: Encoded, layer: int, users: Tensor, mixed: Tensor, pool: Tensor
    ) -> list[Tensor]:
        """See `HistorySampler.hard`."""
        return [self.hardest(encoded, layer, users, pool)]
