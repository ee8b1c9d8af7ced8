"""The bipartite graph of the train pairs, and products of its matrix with T embedding tables."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray, sort_pairs
from hapens_bench.kernels import Engine, cpu

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)


@dataclass(frozen=True)
class Edges:
    """The edges into one side of the graph, in rows by receiving node (CSR).

    Shape:
        indptr: [n+1] int32; index: [E] int32, the sending nodes;
        twin: [E] int64, the place of each edge in the other side's rows.
    """

    indptr: Tensor
    index: Tensor
    twin: Tensor


@dataclass(frozen=True)
class Weights:
    """The weights of the edges, for the product and for its transpose.

    Shape:
        each [1, E], or [T, E] where trials differ; in the order of the rows of users or of items.
    """

    into_users: Tensor
    into_items: Tensor
    back_users: Tensor
    back_items: Tensor


class Graph:
    """A node per user and item, an edge per train pair of a stage; built once for all its packs.

    Users have items as neighbours and items have users, so a product with the whole adjacency
    matrix is two products with its halves. `user_degree` and `item_degree` count the neighbours.

    Shape:
        user_degree: [U] float64; item_degree: [I] float64.
    """

    def __init__(
        self,
        pairs: IntArray,
        n_users: int,
        n_items: int,
        device: torch.device | str = "cpu",
        engine: Engine = Engine.PLAIN,
    ) -> None:
        self.engine = engine
        users, items = sort_pairs(pairs).T
        by_item = np.lexsort((users, items))
        by_user = np.empty_like(by_item)
        by_user[by_item] = np.arange(len(by_item))

        def edges(index: IntArray, twin: IntArray, degree: IntArray) -> Edges:
            indptr = np.concatenate([[0], np.cumsum(degree)]).astype(np.int32)
            arrays = (indptr, index.astype(np.int32), twin)
            return Edges(
                *(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays)
            )

        counts = np.bincount(users, minlength=n_users), np.bincount(items, minlength=n_items)
        self.users, self.items = (
            edges(items, by_user, counts[0]),
            edges(users[by_item], by_item, counts[1]),
        )
        self.user_degree, self.item_degree = (
            torch.from_numpy(count.astype(np.float64)).to(device) for count in counts
        )

    def weigh(self, into_users: Tensor, into_items: Tensor) -> Weights:
        """Return weights of the edges into users and items, in the order of their rows: [W, E]."""
        return Weights(
            into_users, into_items, into_items[:, self.users.twin], into_users[:, self.items.twin]
        )

    def symmetric(self) -> Weights:
        """Return the weights 1 / sqrt(d_u d_i): the adjacency matrix D^-1/2 A D^-1/2."""
        u, i = self.user_degree.rsqrt(), self.item_degree.rsqrt()
        return self._by_ends(u, i, i, u)

    def powers(self, receives: float, sends: float) -> Weights:
        """Return the weights d^receives of the receiving node times d^sends of the sending one."""
        at_user, at_item = (d**receives for d in (self.user_degree, self.item_degree))
        from_user, from_item = (d**sends for d in (self.user_degree, self.item_degree))
        return self._by_ends(at_user, from_item, at_item, from_user)

    def row_normalised(self) -> Weights:
        """Return the weights 1 / (1 + d) of the receiving node: D^-1 (A + I) without its diagonal.

        The entries of that diagonal are the same numbers.
        """
        u, i = 1 / (1 + self.user_degree), 1 / (1 + self.item_degree)
        return self._by_ends(u, torch.ones_like(i), i, torch.ones_like(u))

    def _by_ends(
        self, at_user: Tensor, from_item: Tensor, at_item: Tensor, from_user: Tensor
    ) -> Weights:
        """Return weights that multiply a number of the receiving and one of the sending node."""

        def product(edges: Edges, receives: Tensor, sends: Tensor) -> Tensor:
            degree = edges.indptr.diff()
            received = receives.repeat_interleave(degree, output_size=len(edges.index))
            return (received * sends[edges.index.long()]).float()[None]

        return self.weigh(
            product(self.users, at_user, from_item), product(self.items, at_item, from_user)
        )

    def propagate(self, users: Tensor, items: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of each node's neighbours' vectors.

        Shape:
            users: [T, U, D]; items: [T, I, D] -> the same.
        """
        sums: tuple[Tensor, Tensor] = _Product.apply(users, items, self, weights)
        return sums

    def multiply(self, edges: Edges, weight: Tensor, table: Tensor) -> Tensor:
        """Return the product of one half of the matrix with T tables: [T, m, D] -> [T, n, D].

        Where all trials have the same weights, a GPU folds the trials into the features, for one
        product with [m, T*D].
        """
        if self.engine is Engine.NUMBA:
            return cpu.multiply(edges.indptr, edges.index, weight, table)
        T, m, D = table.shape
        if self.engine is Engine.CUDA and len(weight) == 1:
            folded = _sparse(edges, weight[0], m) @ table.transpose(0, 1).reshape(m, T * D)
            return folded.view(-1, T, D).transpose(0, 1).contiguous()
        weights = weight.expand(T, -1)
        return torch.stack([_sparse(edges, w, m) @ x for w, x in zip(weights, table, strict=True)])


def _sparse(edges: Edges, weight: Tensor, m: int) -> Tensor:
    """Return the sparse matrix of one trial's weights: [n, m]."""
    size = (len(edges.indptr) - 1, m)
    return torch.sparse_csr_tensor(edges.indptr, edges.index, weight, size, check_invariants=False)


class _Product(torch.autograd.Function):
    """See `Graph.propagate`; the gradient is the product with the transposed matrix."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, graph: Graph, weights: Weights
    ) -> tuple[Tensor, Tensor]:
        """Sum over neighbours."""
        ctx.graph, ctx.weights = graph, weights
        into_users = graph.multiply(graph.users, weights.into_users, items)
        return into_users, graph.multiply(graph.items, weights.into_items, users)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Send the gradients back along the edges."""
        graph, weights = ctx.graph, ctx.weights
        to_users = graph.multiply(graph.users, weights.back_users, grads[1])
        return to_users, graph.multiply(graph.items, weights.back_items, grads[0]), None, None
