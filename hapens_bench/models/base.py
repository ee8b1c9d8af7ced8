"""What every recommender shares.

T copies are trained side by side, and a score is the inner product of a query and an item vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.kernels import Engine, compiled, cpu, gradients
from hapens_bench.models.dropout import Noise


def rows(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of T tables.

    Shape:
        table: [T, n, D]; index: [T, ...] int64 -> [T, ..., D].
    """
    T, n, D = table.shape
    offset = torch.arange(0, T * n, n, device=index.device).view(T, *[1] * (index.dim() - 1))
    return F.embedding(index + offset, table.reshape(T * n, D))


@dataclass(frozen=True)
class Encoded:
    """The vectors that scores are made of: s_ui = <query_u, item_i>.

    A model with layers pools a vector from its layers' embeddings: their mean, with `first` layer 0
    by that weight and the mean of the others by the rest or, with `concat`, their concatenation.
    With `cosine` they are scaled to length 1. A query is the user's vector, or `factor` times that
    (GMF's w), which is computed for the rows of a batch only.

    Shape:
        users: [T, U, D]; items: [T, I, D], with `concat` (L+1) D; first: [T, 1, 1];
        layers: L+1 tables of users and items, [T, U, D], [T, I, D]; factor: [T, 1, D].
    """

    users: Tensor
    items: Tensor
    engine: Engine = Engine.PLAIN
    layers: tuple[tuple[Tensor, Tensor], ...] = ()
    concat: bool = False
    factor: Tensor | None = None
    first: Tensor | None = None
    cosine: bool = False

    @cached_property
    def queries(self) -> Tensor:
        """The query vectors of all users, [T, U, D]."""
        return self.users if self.factor is None else self.factor * self.users

    @property
    def n_layers(self) -> int:
        """The number of embeddings that a vector is pooled from: L + 1, or 1 without layers."""
        return len(self.layers) or 1

    def layer(self, l: int) -> Encoded:
        """Return the tables of one layer."""
        return Encoded(*self.layers[l], self.engine) if self.layers else self

    def pool(self, layers: Tensor) -> Tensor:
        """Pool layer embeddings: [T, B, K, L+1, D] -> [T, B, K, D], with `concat` (L+1) D."""
        if self.first is not None:
            share = self.first[..., None]
            pooled = share * layers[..., 0, :] + (1 - share) * layers[..., 1:, :].mean(-2)
        else:
            pooled = layers.flatten(-2) if self.concat else layers.mean(-2)
        return F.normalize(pooled, dim=-1) if self.cosine else pooled

    def score_layer(self, l: int, users: Tensor, items: Tensor) -> Tensor:
        """Return the scores of one layer's item embeddings; see `score`.

        They are scored against pooled user vectors, with `concat` against the layer's own.
        """
        return self._judge(l).score(users, items)

    def layer_query(self, l: int, users: Tensor) -> Tensor:
        """Return the queries that `score_layer` scores against: [T, B] -> [T, B, D]."""
        return self._judge(l).query(users)

    def _judge(self, l: int) -> Encoded:
        """Return one layer's items, with the user vectors that they are scored against."""
        table = self.layer(l)
        vectors = table.users if self.concat else self.users
        return Encoded(vectors, table.items, self.engine, factor=self.factor)

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the scores of items against their users, without a gradient.

        Shape:
            users: [T, B]; items: [T, B, M] -> [T, B, M].
        """
        with torch.no_grad():
            table, at = self._query_table(users)
            if self.engine is Engine.NUMBA:
                return cpu.score(table, self.items, at, items)
            if self.engine is Engine.CUDA:
                return compiled(_gather_dot)(
                    _static_width(table), _static_width(self.items), at, items
                )
            return _gather_dot(table, self.items, at, items)

    def pairs(
        self, users: Tensor, positives: Tensor, negatives: Tensor, ego: Encoded | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return differentiable scores of a batch, and half squared norms.

        The norms, (|q_u|^2 + |v_i|^2 + sum_k |v_jk|^2) / 2, are of the rows of `ego`, or of the
        scored ones.

        Shape:
            users, positives: [T, B]; negatives: [T, B, K]
            -> positive [T, B], negative [T, B, K], squares [T, B].
        """
        ego = ego or self
        if self.engine is Engine.NUMBA:
            table, at = self._query_table(users)
            norms = table if ego is self else ego.users if at is users else ego.query(users)
            pairs = gradients.pairs_for(negatives.shape[2])
            return pairs(table, self.items, norms, ego.items, at, positives, negatives)
        q, v, w = self.query(users), self.item(positives), self.item(negatives)
        normed = (
            (q, v, w)
            if ego is self
            else (ego.query(users), ego.item(positives), ego.item(negatives))
        )
        squares = (normed[0].square() + normed[1].square()).sum(-1) + normed[2].square().sum(
            (-1, -2)
        )
        return (q * v).sum(-1), (q[..., None, :] * w).sum(-1), 0.5 * squares

    def shared_pairs(
        self,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        shared: Tensor,
        stand_in: Tensor,
        ego: Encoded,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `pairs` returns, by a matrix product, for rows with the same negatives.

        A row of `negatives` is that of `shared`, with the row's stand-in in some places.

        Shape:
            users, positives, stand_in: [T, B]; negatives: [T, B, K]; shared: [T, K].
        """
        q, own = self.query(users), torch.stack([positives, stand_in], -1)
        positive, other = (q[..., None, :] * self.item(own)).sum(-1).unbind(-1)
        # One product per trial, so that its bits do not depend on pack-mates.
        table = self.item(shared)
        product = torch.stack([x @ y.T for x, y in zip(q, table, strict=True)])
        replaced = negatives != shared[:, None]
        negative = torch.where(replaced, other[..., None], product)
        norms = ego.item(shared).square().sum(-1)[:, None]
        first, second = ego.item(own).square().sum(-1).unbind(-1)
        squares = ego.query(users).square().sum(-1) + first
        squares = squares + torch.where(replaced, second[..., None], norms).sum(-1)
        return positive, negative, 0.5 * squares

    def synthesised(
        self,
        users: Tensor,
        positives: Tensor,
        layers: Tensor,
        ego: Encoded,
        positive_layers: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `pairs` returns, for negatives (and perhaps positives) that are not items.

        The norms are of ego embeddings, for what is synthesised of layer 0. Where the pooled
        vectors are themselves the ego embeddings, the norms are of them.

        Shape:
            users, positives: [T, B]; layers: [T, B, K, L+1, D]; positive_layers: [T, B, L+1, D].
        """
        q, w = self.query(users), self.pool(layers)
        if positive_layers is None:
            v, normed = self.item(positives), ego.item(positives)
        else:
            v = self.pool(positive_layers)
            normed = v if ego.layers else positive_layers[..., 0, :]
        squares = (ego.query(users).square() + normed.square()).sum(-1)
        squares = squares + (w if ego.layers else layers[..., 0, :]).square().sum((-1, -2))
        return (q * v).sum(-1), (q[..., None, :] * w).sum(-1), 0.5 * squares

    def query(self, users: Tensor) -> Tensor:
        """Return query vectors: [T, ...] -> [T, ..., D]."""
        vectors = self._rows(self.users, users)
        if self.factor is None:
            return vectors
        # Looked up: the bits of a broadcast factor's gradient would depend on the pack.
        return self._rows(self.factor, torch.zeros_like(users)) * vectors

    def item(self, items: Tensor) -> Tensor:
        """Return item vectors: [T, ...] -> [T, ..., D]."""
        return self._rows(self.items, items)

    def _query_table(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return a table with the queries of a batch, and their places in it.

        Shape:
            users: [T, B] -> [T, n, D], [T, B].
        """
        if self.factor is None:
            return self.users, users
        return self.query(users), torch.arange(users.shape[1], device=users.device).expand_as(users)

    def _rows(self, table: Tensor, index: Tensor) -> Tensor:
        return (
            gradients.Lookup.apply(table, index)
            if self.engine is Engine.NUMBA
            else rows(table, index)
        )

    def detach(self) -> Encoded:
        """Return the same vectors without gradient, for samplers."""
        return replace(
            self,
            users=self.users.detach(),
            items=self.items.detach(),
            layers=tuple((users.detach(), items.detach()) for users, items in self.layers),
            factor=None if self.factor is None else self.factor.detach(),
        )


def unit(x: Tensor, engine: Engine) -> Tensor:
    """Return rows divided by their lengths: [..., D] -> [..., D]."""
    if engine is Engine.NUMBA:
        scaled: Tensor = gradients.Unit.apply(x)
        return scaled
    return F.normalize(x, dim=-1)


def _static_width(table: Tensor) -> Tensor:
    """Return the table for a compiled function, with static D and dynamic n and T."""
    table = table.detach()  # torch compiles anew for each shape of a parameter
    torch._dynamo.mark_static(table, 2)
    return table


def _gather_dot(user_table: Tensor, item_table: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """Return the inner products of rows of the tables; see `Encoded.score`."""
    return (rows(item_table, items) * rows(user_table, users)[..., None, :]).sum(-1)


class Model(nn.Module, ABC):
    """A recommender for T trials; every parameter has the leading axis T.

    `keys` declares the YAML keys of the model, except `name` and `_target_`, with their allowed
    values. A model that `uses_graph` is constructed with the `graph` of the stage's train pairs.
    """

    keys: ClassVar[dict[str, Key]] = {}
    uses_graph: ClassVar[bool] = False
    engine: Engine = Engine.PLAIN
    user: nn.Parameter  # [T, U, D]
    item: nn.Parameter  # [T, I, D]

    @classmethod
    def n_numbers(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """Return a lower bound on the numbers in a trial's tables and layers: (U + I) D (L + 1)."""
        return (n_users + n_items) * int(section["D"]) * (int(section.get("L", 0)) + 1)

    @abstractmethod
    def encode(self, noise: Noise | None = None) -> Encoded:
        """Return the query and item vectors under the current parameters.

        `noise` has the random numbers for the dropout of a training step.
        """

    @abstractmethod
    def ego(self, encoded: Encoded) -> Encoded:
        """Return the trained tables that L2 applies to.

        It is `encoded` itself where they are the vectors.
        """

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with keys that are each allowed, but not together."""
        return []

    def extra(self, encoded: Encoded, users: Tensor, items: Tensor) -> Tensor | None:
        """Return a loss of the model's own, for a batch of users and their positives.

        Shape:
            users, items: [T, B] -> [T].
        """
        return None
