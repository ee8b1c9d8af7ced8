"""XSimGCL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, unit
from hapens_bench.models.contrast import first_places, info_nce
from hapens_bench.models.dropout import Noise
from hapens_bench.models.lightgcn import LightGCN
from hapens_bench.models.propagation import Tables


class XSimGCL(LightGCN):
    """LightGCN with noise in every layer, and a loss in which a node knows itself in layer l*.

        E^(l+1) = S + eps sign(S) * w / |w| with S = D^-1/2 A D^-1/2 E^l, w ~ U(0, 1)^D for each row
        loss of the batch + lam (InfoNCE of its users + InfoNCE of its positives)
        InfoNCE = mean_b -ln e^(z_b . z'_b / tau) / sum_c e^(z_b . z'_c / tau)

    The vector of a node is the mean of its layers 1 .. L, without the trained layer 0. z_b is that
    vector, z'_b the layer `contrast_layer` (l*) of the same node, both scaled to length 1; b and c
    are the nodes of the batch. Only training steps have noise, and it goes on to the next layer; no
    gradient flows through its sign. With a sampler on user groups, a user's positive is the first
    that it draws.

    Yu et al., "XSimGCL: Towards extremely simple graph contrastive learning for recommendation",
    IEEE TKDE 2023. `noise: uniform` and `contrast: nodes`, in which a node counts once however
    often the batch has it, are those of the authors' code; `noise: normal`, w ~ N(0, 1)^D, and
    `contrast: rows`, in which it counts each time, those of IR-Benchmark's (PSL, NeurIPS 2024;
    SL@K, KDD 2025). Deviation: L2 applies to layer 0, as in `LightGCN`; the authors' is the norm,
    not squared, of the batch's pooled vectors.

    Shape:
        eps, lam, tau, first: [T, 1, 1].
    """

    keys = {
        **LightGCN.keys,
        "L": Key(int, low=1, shared=True),
        "contrast_layer": Key(int, low=0, shared=True),
        "eps": Key(float, low=0),
        "lam": Key(float, low=0),
        "tau": Key(float, above=0),
        "noise": Key(str, choices=("uniform", "normal"), shared=True),
        "contrast": Key(str, choices=("nodes", "rows"), shared=True),
    }
    eps: Tensor
    lam: Tensor
    tau: Tensor
    first: Tensor

    def __init__(
        self,
        contrast_layer: int,
        eps: Tensor,
        lam: Tensor,
        tau: Tensor,
        noise: str,
        contrast: str,
        **lightgcn: Any,
    ) -> None:
        super().__init__(**lightgcn)
        self.contrast_layer, self.once = contrast_layer, contrast == "nodes"
        self.normal = noise == "normal"
        self.per_entry = 2 if self.normal else 1
        self.register_buffer("eps", eps)
        self.register_buffer("lam", lam)
        self.register_buffer("tau", tau)
        self.register_buffer("first", torch.zeros_like(eps))

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """See `Model.problems`."""
        if section["contrast_layer"] <= section["L"]:
            return []
        return [
            f"model.contrast_layer is {section['contrast_layer']}, but it takes a layer, at most "
            f"model.L={section['L']}"
        ]

    def perturb(self, tables: Tables, noise: Noise, counter: Tensor) -> Tables:
        """See `Propagation.perturb`."""
        (users, items), engine = tables, self.graph.engine
        after = counter + self.per_entry * users[0].numel()
        return (
            noise.perturb(users, self.eps, counter, self.normal, engine),
            noise.perturb(items, self.eps, after, self.normal, engine),
        )

    def readout(self, layers: list[Tables]) -> Encoded:
        """Return the mean of the layers above 0, for cosine with rows of length 1."""
        users, items = (
            reduce(torch.add, tables) / self.L for tables in zip(*layers[1:], strict=True)
        )
        if self.cosine:
            users, items = unit(users, self.engine), unit(items, self.engine)
        kept = tuple(layers)
        return Encoded(users, items, self.engine, kept, first=self.first, cosine=self.cosine)

    def extra(self, encoded: Encoded, users: Tensor, items: Tensor) -> Tensor:
        """Return the contrast, weighted by lam; see `Model.extra`."""
        layer, U, I = encoded.layer(self.contrast_layer), self.user.shape[1], self.item.shape[1]
        of_users = self._contrast(encoded.query(users), layer.query(users), users, U)
        of_items = self._contrast(encoded.item(items), layer.item(items), items, I)
        return self.lam.flatten() * (of_users + of_items)

    def _contrast(self, final: Tensor, other: Tensor, index: Tensor, n: int) -> Tensor:
        """Return InfoNCE of the nodes of one side, of which there are n.

        Shape:
            final, other: [T, B, D]; index: [T, B] -> [T].
        """
        views = unit(final, self.engine), unit(other, self.engine)
        counted = first_places(index, n) if self.once else torch.ones_like(index).bool()
        return info_nce(*views, self.tau, counted)
