"""LightGCN++."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.models.graph import Graph
from hapens_bench.models.initial import normal, xavier_uniform
from hapens_bench.models.propagation import Propagation, Tables
from hapens_bench.rng import Purpose, Streams


class LightGCNPP(Propagation):
    """E^(l+1) = D^-alpha A D^-beta N(E^l), where N scales each row to length 1; s_ui = <e_u, e_i>.

    The vector of a node is gamma e^0 + (1 - gamma) mean(e^1 .. e^L). Lee et al., "Revisiting
    LightGCN: unexpected inflexibility, inconsistency, and a remedy towards improved
    recommendation", RecSys 2024. alpha is the exponent of the receiving node's degree, beta of the
    sending one's. A has the train pairs of the stage. L2 applies to layer 0. `init: normal`, N(0,
    0.1^2), is that of the authors' code. Deviations from it are those of `LightGCN`: epochs go over
    the train pairs, and scores do not pass through a sigmoid.

    Shape:
        gamma: [T, 1, 1].
    """

    keys = {
        **Propagation.keys,
        "L": Key(int, low=1, shared=True),
        "init": Key(str, choices=("xavier", "normal"), shared=True),
        "alpha": Key(float, shared=True),
        "beta": Key(float, shared=True),
        "gamma": Key(float, low=0, high=1),
    }
    gamma: Tensor

    def __init__(
        self,
        D: int,
        L: int,
        message_dropout: Tensor,
        node_dropout: Tensor,
        init: str,
        alpha: float,
        beta: float,
        gamma: Tensor,
        seeds: list[int],
        n_users: int,
        n_items: int,
        graph: Graph,
    ) -> None:
        super().__init__(L, message_dropout, node_dropout, graph, graph.powers(-alpha, -beta))
        self.register_buffer("gamma", gamma)
        streams = Streams(seeds, Purpose.INIT)
        if init == "normal":
            self.user = normal(streams, 0, n_users, D, 0.1)
            self.item = normal(streams, 2 * n_users * D, n_items, D, 0.1)
        else:
            self.user = xavier_uniform(streams, 0, n_users, D)
            self.item = xavier_uniform(streams, n_users * D, n_items, D)

    def sent(self, tables: Tables) -> Tables:
        """Return the tables with rows of length 1; rows of zeros stay."""
        users, items = (F.normalize(table, dim=-1) for table in tables)
        return users, items

    def layer(self, l: int, tables: Tables, sums: Tables) -> Tables:
        """Return the sums as they are."""
        return sums

    def readout(self, layers: list[Tables]) -> Encoded:
        """Return layer 0 and the mean of the others, weighted by gamma."""
        users, items = (
            self.gamma * first + (1 - self.gamma) * (reduce(torch.add, others) / len(others))
            for first, *others in zip(*layers, strict=True)
        )
        return Encoded(users, items, self.engine, tuple(layers), first=self.gamma)
