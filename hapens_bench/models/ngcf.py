"""NGCF."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, unit
from hapens_bench.models.graph import Graph
from hapens_bench.models.initial import xavier_uniform
from hapens_bench.models.linear import Linear
from hapens_bench.models.propagation import Propagation, Tables
from hapens_bench.rng import Purpose, Streams

SLOPE = 0.2  # of LeakyReLU below 0


class NGCF(Propagation):
    """Layers with a linear and a product term, concatenated to a node's vector; s_ui = <e_u, e_i>.

    Wang et al., "Neural graph collaborative filtering", SIGIR 2019. Two codes differ, and `variant`
    selects one: `mixgcf` (Huang et al., KDD 2021, the family's) has Â = D^-1/2 A D^-1/2,
    E' = LReLU(ÂE W1 + b1 + (E * ÂE) W2 + b2) and L2 on layer 0; `authors` has Â = D^-1 (A + I),
    E' = LReLU(ÂE W1 + b1) + LReLU((E * ÂE) W2 + b2) and L2 on the pooled vectors. In both, layer
    l > 0 is pooled as E' after message dropout with rows of length 1, and E' itself goes on to the
    next layer. All parameters, biases included, are Xavier-uniform. Deviation: node dropout keeps
    self-loops.
    """

    keys = {**Propagation.keys, "variant": Key(str, choices=("mixgcf", "authors"), shared=True)}

    def __init__(
        self,
        D: int,
        L: int,
        message_dropout: Tensor,
        node_dropout: Tensor,
        variant: str,
        seeds: list[int],
        n_users: int,
        n_items: int,
        graph: Graph,
    ) -> None:
        authors = variant == "authors"
        weights = graph.row_normalised() if authors else graph.symmetric()
        super().__init__(L, message_dropout, node_dropout, graph, weights)
        self.authors = authors
        self.loops = tuple(
            (1 / (1 + d)).float()[:, None] for d in (graph.user_degree, graph.item_degree)
        )
        streams, counter = Streams(seeds, Purpose.INIT), (n_users + n_items) * D
        self.user = xavier_uniform(streams, 0, n_users, D)
        self.item = xavier_uniform(streams, n_users * D, n_items, D)
        maps = []
        for _ in range(2 * L):
            weight, bias = (
                xavier_uniform(streams, counter, D, D),
                xavier_uniform(streams, counter + D * D, 1, D),
            )
            maps.append(Linear(weight, bias))
            counter += D * (D + 1)
        self.sums, self.products = nn.ModuleList(maps[0::2]), nn.ModuleList(maps[1::2])

    def layer(self, l: int, tables: Tables, sums: Tables) -> Tables:
        """Return the mapped sums and products of the sums with the node's own embedding."""
        users, items = (self._map(l, *side) for side in zip(tables, sums, self.loops, strict=True))
        return users, items

    def _map(self, l: int, table: Tensor, total: Tensor, loop: Tensor) -> Tensor:
        """Return layer l + 1 of one side: [T, n, D] -> [T, n, D]."""
        if self.authors:
            total = total + loop * table
        linear, product = self.sums[l](total), self.products[l](table * total)
        if self.authors:
            return F.leaky_relu(linear, SLOPE) + F.leaky_relu(product, SLOPE)
        return F.leaky_relu(linear + product, SLOPE)

    def readout(self, layers: list[Tables]) -> Encoded:
        """Return the concatenated layers, those above 0 with rows of length 1."""
        above = ((unit(u, self.engine), unit(i, self.engine)) for u, i in layers[1:])
        read = [layers[0], *above]
        users, items = (torch.cat(tables, -1) for tables in zip(*read, strict=True))
        return Encoded(users, items, self.engine, tuple(read), concat=True)

    def ego(self, encoded: Encoded) -> Encoded:
        """Return layer 0, or in the authors' variant the vectors themselves."""
        return encoded if self.authors else super().ego(encoded)
