"""What LightGCN and its kin share: embeddings sent along the graph, layer by layer."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded, Model
from hapens_bench.models.dropout import Noise
from hapens_bench.models.graph import Graph, Weights

Tables = tuple[Tensor, Tensor]  # of users [T, U, D] and of items [T, I, D]


class Propagation(Model):
    """E^0 are trained tables, E^(l+1) = layer(E^l, Â sent(E^l)), and a vector pools layers 0 .. L.

    Message dropout applies to the entries of each E^(l+1). Node dropout (NGCF's name) applies to
    the edges of Â, each direction separately, with one draw per step for all layers. What is kept
    is divided by 1 - rate; a rate of 0 turns dropout off. A model that perturbs its layers in
    training says how many random numbers that takes `per_entry`.

    Shape:
        user: [T, U, D]; item: [T, I, D]; message_dropout, node_dropout: [T, 1, 1].
    """

    keys = {
        "D": Key(int, low=1, shared=True),
        "L": Key(int, low=0, shared=True),
        "message_dropout": Key(float, low=0, high=0.99),
        "node_dropout": Key(float, low=0, high=0.99),
    }
    uses_graph = True
    per_entry: int = 0
    user: nn.Parameter
    item: nn.Parameter
    message_dropout: Tensor
    node_dropout: Tensor

    def __init__(
        self, L: int, message_dropout: Tensor, node_dropout: Tensor, graph: Graph, weights: Weights
    ) -> None:
        super().__init__()
        self.L, self.graph, self.weights = L, graph, weights
        self.register_buffer("message_dropout", message_dropout)
        self.register_buffer("node_dropout", node_dropout)
        self.drops_messages = bool(message_dropout.any())
        self.drops_edges = bool(node_dropout.any())

    def sent(self, tables: Tables) -> Tables:
        """Return what the nodes send to their neighbours: their embeddings, unless overridden."""
        return tables

    @abstractmethod
    def layer(self, l: int, tables: Tables, sums: Tables) -> Tables:
        """Return layer l + 1, given layer l and the weighted sums over its neighbours."""

    def perturb(self, tables: Tables, noise: Noise, counter: Tensor) -> Tables:
        """Return a layer as a training step has it, with the numbers from `counter` on."""
        return tables

    @abstractmethod
    def readout(self, layers: list[Tables]) -> Encoded:
        """Return the vectors pooled from layers 0 .. L."""

    def encode(self, noise: Noise | None = None) -> Encoded:
        """Return the vectors after L layers of propagation."""
        tables: Tables = self.user, self.item
        layers, weights = [tables], self.weights
        E, n = weights.into_users.shape[1], sum(table[0].numel() for table in tables)
        dropout = 2 * E + self.L * n  # the numbers that dropout takes in a step
        if noise:
            counter = noise.step * (dropout + self.L * n * self.per_entry)
            if self.drops_edges:
                edges = weights.into_users, weights.into_items
                dropped = self._drop(noise, edges, self.node_dropout, counter)
                weights = self.graph.weigh(*dropped)
        for l in range(self.L):
            sums = self.graph.propagate(*self.sent(tables), weights)
            tables = self.layer(l, tables, sums)
            if noise and self.drops_messages:
                tables = self._drop(noise, tables, self.message_dropout, counter + 2 * E + l * n)
            if noise and self.per_entry:
                tables = self.perturb(tables, noise, counter + dropout + l * n * self.per_entry)
            layers.append(tables)
        return self.readout(layers)

    def _drop(self, noise: Noise, tables: Tables, rate: Tensor, counter: Tensor) -> Tables:
        """Drop entries of two tensors, with consecutive numbers of the streams."""
        users, items = (table.expand(len(rate), *table.shape[1:]) for table in tables)
        first = noise.drop(users, rate, counter, self.graph.engine)
        return first, noise.drop(items, rate, counter + users[0].numel(), self.graph.engine)

    def ego(self, encoded: Encoded) -> Encoded:
        """See `Model.ego`."""
        return Encoded(self.user, self.item, self.engine)
