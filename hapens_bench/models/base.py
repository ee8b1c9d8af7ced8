"""What every recommender shares: T copies side by side, scored by the inner product of a query and an item vector."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hapens_bench.checks import Key
from hapens_bench.rng import Purpose, Streams


def rows(table: Tensor, index: Tensor) -> Tensor:
    """Look up rows of T tables at once.

    Shape:
        table: [T, n, D]; index: [T, ...] int64 -> [T, ..., D].
    """
    T, n, D = table.shape
    offset = torch.arange(0, T * n, n, device=index.device).view(T, *[1] * (index.dim() - 1))
    return F.embedding(index + offset, table.reshape(T * n, D))


@dataclass(frozen=True)
class Encoded:
    """The vectors that scores are made of: s_ui = <query_u, item_i>.

    Shape:
        users: [T, U, D]; items: [T, I, D].
    """

    users: Tensor
    items: Tensor

    def score(self, query: Tensor, items: Tensor) -> Tensor:
        """Score item ids against query vectors.

        Shape:
            query: [T, B, D]; items: [T, B, M] -> [T, B, M].
        """
        T, B, M = items.shape
        vectors = self.item(items)
        return torch.bmm(vectors.view(T * B, M, -1), query.reshape(T * B, -1, 1)).view(T, B, M)

    def query(self, users: Tensor) -> Tensor:
        """Look up query vectors: [T, ...] -> [T, ..., D]."""
        return rows(self.users, users)

    def item(self, items: Tensor) -> Tensor:
        """Look up item vectors: [T, ...] -> [T, ..., D]."""
        return rows(self.items, items)

    def detach(self) -> Encoded:
        """Give the same vectors, cut off from the gradient: what samplers look at."""
        return Encoded(self.users.detach(), self.items.detach())


class Model(nn.Module, ABC):
    """A recommender for T trials; every parameter has the leading axis T.

    `keys` declares the YAML keys of the model beside `name` and `_target_`, with their allowed values.
    """

    keys: ClassVar[dict[str, Key]] = {}

    @abstractmethod
    def encode(self) -> Encoded:
        """Give the query and item vectors under the present parameters."""

    @abstractmethod
    def penalty(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Give the L2 term of each row of the batch, 1/2 (|e_u|^2 + |e_i|^2 + sum_k |e_jk|^2) on ego embeddings.

        Shape:
            users, positives: [T, B]; negatives: [T, B, K] -> [T, B].
        """


def xavier_uniform(streams: Streams, counter: int, n: int, D: int) -> nn.Parameter:
    """Draw T tables uniform on +-sqrt(6 / (n + D)) (Glorot and Bengio, AISTATS 2010).

    Shape:
        -> [T, n, D], from the outputs counter .. counter + n*D - 1 of each trial's stream.
    """
    bound = math.sqrt(6.0 / (n + D))
    return nn.Parameter((streams.uniform(counter, n, D) * 2 - 1) * bound)


def init_streams(seeds: list[int]) -> Streams:
    """Give the streams that parameters are initialised from."""
    return Streams(seeds, Purpose.INIT)
