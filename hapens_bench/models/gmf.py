"""Generalised matrix factorisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, Model
from hapens_bench.models.dropout import Noise
from hapens_bench.models.initial import truncated_normal
from hapens_bench.rng import Purpose, Streams


class GMF(Model):
    """Generalised matrix factorisation: s_ui = w . (p_u * q_i), so the query is w * p_u.

    He et al., "Neural collaborative filtering", WWW 2017, as SRNS (NeurIPS 2020) and GDNS (WWW
    2022) use it with pairwise losses. p and q are drawn from a normal of deviation 0.01 truncated
    at two deviations. `init: srns` draws w uniform on +-sqrt(6 / (D + 1)), as SRNS's code does;
    `init: enmf` sets it to 0.01, as ENMF's does. L2 applies to p and q, never to w. `user_dropout`
    drops entries of p_u in a training step and divides the others by 1 - rate; ENMF's keep_prob is
    1 - rate. Deviation from He et al.: their output has a bias and a sigmoid, and is trained by
    cross-entropy; here there is neither.

    Shape:
        user: [T, U, D]; item: [T, I, D]; w: [T, 1, D]; user_dropout: [T, 1, 1].
    """

    keys = {
        "D": Key(int, low=1, shared=True),
        "init": Key(str, choices=("srns", "enmf"), shared=True),
        "user_dropout": Key(float, low=0, high=0.99),
    }
    user_dropout: Tensor

    def __init__(
        self, D: int, init: str, user_dropout: Tensor, seeds: list[int], n_users: int, n_items: int
    ) -> None:
        super().__init__()
        streams = Streams(seeds, Purpose.INIT)
        self.register_buffer("user_dropout", user_dropout)
        self.drops = bool(user_dropout.any())
        self.user = truncated_normal(streams, 0, n_users, D, 0.01)
        self.item = truncated_normal(streams, n_users * D, n_items, D, 0.01)
        if init == "srns":
            bound = math.sqrt(6 / (D + 1))
            self.w = nn.Parameter((2 * streams.uniform((n_users + n_items) * D, 1, D) - 1) * bound)
        else:
            self.w = nn.Parameter(torch.full((len(seeds), 1, D), 0.01))

    def encode(self, noise: Noise | None = None) -> Encoded:
        """Return p, which w turns into the query, and q."""
        user: Tensor = self.user
        if noise and self.drops:
            user = noise.drop(user, self.user_dropout, noise.step * user[0].numel(), self.engine)
        return Encoded(user, self.item, self.engine, factor=self.w)

    def ego(self, encoded: Encoded) -> Encoded:
        """See `Model.ego`."""
        return Encoded(self.user, self.item, self.engine)
