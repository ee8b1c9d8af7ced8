"""Matrix factorisation."""

from __future__ import annotations

from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, Model, unit
from hapens_bench.models.dropout import Noise
from hapens_bench.models.initial import normal, xavier_uniform
from hapens_bench.rng import Purpose, Streams


class MF(Model):
    """Matrix factorisation: s_ui = <e_u, e_i>, without biases, or its cosine.

    `init: xavier` is uniform on the user and the item table separately, as in the code of MixGCF
    (KDD 2021), DENS (WSDM 2023) and AHNS (AAAI 2024); `normal` is N(0, std^2), with std = 1 that of
    SDNS's authors (arXiv 2211.13912).

    Shape:
        user: [T, U, D]; item: [T, I, D]; std: [T, 1, 1].
    """

    keys = {
        "D": Key(int, low=1, shared=True),
        "similarity": Key(str, choices=("dot", "cosine"), shared=True),
        "init": Key(str, choices=("xavier", "normal"), shared=True),
        "std": Key(float, above=0),
    }

    def __init__(
        self,
        D: int,
        similarity: str,
        init: str,
        std: Tensor,
        seeds: list[int],
        n_users: int,
        n_items: int,
    ) -> None:
        super().__init__()
        self.cosine = similarity == "cosine"
        streams = Streams(seeds, Purpose.INIT)
        if init == "normal":
            self.user = normal(streams, 0, n_users, D, std)
            self.item = normal(streams, 2 * n_users * D, n_items, D, std)
        else:
            self.user = xavier_uniform(streams, 0, n_users, D)
            self.item = xavier_uniform(streams, n_users * D, n_items, D)

    def encode(self, noise: Noise | None = None) -> Encoded:
        """Return the two tables, for cosine with rows of length 1."""
        if self.cosine:
            users, items = unit(self.user, self.engine), unit(self.item, self.engine)
            return Encoded(users, items, self.engine)
        return Encoded(self.user, self.item, self.engine)

    def ego(self, encoded: Encoded) -> Encoded:
        """See `Model.ego`."""
        return Encoded(self.user, self.item, self.engine) if self.cosine else encoded
