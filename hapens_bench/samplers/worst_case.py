"""Stage one of HAPENS (our reading): uniform negatives, shared by all train items of a user."""

from __future__ import annotations

from hapens_bench.samplers.base import PoolSize
from hapens_bench.samplers.enmf import ENMF


class WorstCase(ENMF):
    """Draw K uniform uninteracted items per user, for `loss=worst_case`.

    That loss takes all of the user's train items itself. OUR READING of stage one of HAPENS (Liu et
    al., WWW 2023 Companion). As in ENMF, one uniform train item per user is drawn, for measuring
    hardness only.
    """

    keys = {"K": PoolSize(int, low=1, shared=True)}

    def __init__(self, K: int) -> None:
        super().__init__()
        self.pool_size = K
