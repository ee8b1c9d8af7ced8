"""LightGCN."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, unit
from hapens_bench.models.graph import Graph
from hapens_bench.models.initial import normal, xavier_uniform
from hapens_bench.models.propagation import Propagation, Tables
from hapens_bench.rng import Purpose, Streams


class LightGCN(Propagation):
    """E^(l+1) = D^-1/2 A D^-1/2 E^l without self-loops; s_ui = <e_u, e_i>, or its cosine.

    The vector of a node is the mean of its layers 0 .. L. He et al., "LightGCN: Simplifying and
    powering graph convolution network for recommendation", SIGIR 2020. A has the train pairs of the
    stage. L2 applies to layer 0. L = 0 is MF. `init: xavier` is that of MixGCF's code (KDD 2021),
    `normal`, N(0, std^2), that of the authors' PyTorch code (std 0.1) and of IR-Benchmark's (1). A
    cosine is of the pooled vectors, as in IR-Benchmark, the code of PSL (NeurIPS 2024) and SL@K
    (KDD 2025). Deviations from the authors' code: an epoch goes over the train pairs once, where
    theirs draws users uniformly and one item of each; scores do not pass through a sigmoid.

    Shape:
        std: [T, 1, 1].
    """

    keys = {
        **Propagation.keys,
        "similarity": Key(str, choices=("dot", "cosine"), shared=True),
        "init": Key(str, choices=("xavier", "normal"), shared=True),
        "std": Key(float, above=0),
    }

    def __init__(
        self,
        D: int,
        L: int,
        message_dropout: Tensor,
        node_dropout: Tensor,
        similarity: str,
        init: str,
        std: Tensor,
        seeds: list[int],
        n_users: int,
        n_items: int,
        graph: Graph,
    ) -> None:
        super().__init__(L, message_dropout, node_dropout, graph, graph.symmetric())
        self.cosine = similarity == "cosine"
        streams = Streams(seeds, Purpose.INIT)
        if init == "normal":
            self.user = normal(streams, 0, n_users, D, std)
            self.item = normal(streams, 2 * n_users * D, n_items, D, std)
        else:
            self.user = xavier_uniform(streams, 0, n_users, D)
            self.item = xavier_uniform(streams, n_users * D, n_items, D)

    def layer(self, l: int, tables: Tables, sums: Tables) -> Tables:
        """Return the sums as they are."""
        return sums

    def readout(self, layers: list[Tables]) -> Encoded:
        """Return the mean of the layers, for cosine with rows of length 1."""
        users, items = (
            reduce(torch.add, tables) / len(layers) for tables in zip(*layers, strict=True)
        )
        if self.cosine:
            users, items = unit(users, self.engine), unit(items, self.engine)
        return Encoded(users, items, self.engine, tuple(layers), cosine=self.cosine)
