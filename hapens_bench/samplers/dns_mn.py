"""DNS(M,N): one of the M hardest of N candidates, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams, scale_below, to_below
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose, pick


class DNSMN(Sampler):
    """Take one of the M hardest of N uniform candidates, or all M.

    The M have the highest scores. Hardness rises as M/N falls; M = 1 is DNS, M = N is RNS.

    Shi et al., "On the theories behind hard negative sampling for recommendation", WWW 2023. Two
    readings: `take=one` draws one of the top M uniformly, as the code of AHNS (AAAI 2024) does;
    `take=all` passes all M to the loss (with `loss=bpr_sum`: their sum, as in the authors' code).

    Deviation from the authors' code: train positives are no candidates.
    """

    keys = {
        "M": Key(int, low=1, shared=True),
        "N": PoolSize(int, low=1, shared=True),
        "take": Key(str, choices=("one", "all"), shared=True),
    }

    def __init__(self, M: int, N: int, take: str) -> None:
        super().__init__()
        self.M, self.pool_size, self.take = M, N, take

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Return a sentence if M is more than N."""
        M, N = section["M"], section["N"]
        return [f"sampler.M is {M}, but it may be at most sampler.N, {N}"] if M > N else []

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Take one of the top M, or all of them."""
        top = encoded.score(batch.users, pool).topk(self.M, dim=-1).indices
        if self.take == "all":
            return Negatives(pool.gather(-1, top))
        B = batch.users.shape[1]
        place = to_below(rng.bits(batch.step * B, B), self.M, scale_below(self.M))
        return pick(pool, choose(top, place))
