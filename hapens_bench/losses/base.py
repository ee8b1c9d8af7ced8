"""The interface of a loss: a number for each positive, or for each user, of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives


@dataclass(frozen=True)
class Scored:
    """The losses of a batch, with the scores and norms they were made of.

    `squares` is half the squared norms of the ego rows in each loss, for L2. `positive` and
    `negative` are scores as the loss saw them; for user groups, of each user's first positive and
    the negatives.

    Shape:
        losses, squares, positive: [T, B]; negative: [T, B, K].
    """

    losses: Tensor
    squares: Tensor
    positive: Tensor
    negative: Tensor


class Loss(nn.Module, ABC):
    """A loss over a batch; the trainer takes the mean over B and the sum over T.

    Subclass `PairLoss` for interactions, and `GroupLoss` for users with their groups. The
    constructor gets the arguments that its signature names: the keys, and any of `seeds` (one per
    trial) and `n_users`.
    """

    weighted: ClassVar[bool] = False  # whether it takes a sampler's weights
    takes_positives: ClassVar[bool] = False  # whether it takes several positives of an interaction
    groups: ClassVar[bool] = False  # whether it is for samplers on user groups
    negatives: ClassVar[bool] = True  # whether negatives are in it
    keys: ClassVar[dict[str, Key]] = {}

    @property
    def remembered(self) -> dict[str, Tensor]:
        """The buffers that change from epoch to epoch, [T, ...] by name; checkpoints hold them."""
        return {}

    def start(self, positives: Positives) -> None:
        """Look at the train pairs of a stage, before its first step."""

    def close_epoch(self, epoch: int, encoded: Encoded) -> None:
        """Prepare the next epoch; `encoded` holds the vectors after the one just ended.

        Whatever this method changes must be a remembered buffer.
        """

    @abstractmethod
    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """Return the losses of a batch with its negatives, differentiably."""


def pair_scores(
    encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives
) -> tuple[Tensor, Tensor, Tensor]:
    """Return differentiable scores of the positives and their negatives, and half squared norms.

    Shape:
        -> positive [T, B], negative [T, B, K], squares [T, B]; see `Encoded.pairs`.
    """
    if drawn.shared is not None and drawn.stand_in is not None:
        index = drawn.items, drawn.shared, drawn.stand_in
        return encoded.shared_pairs(batch.users, batch.items, *index, ego)
    if drawn.layers is None:
        return encoded.pairs(batch.users, batch.items, drawn.items, ego)
    return encoded.synthesised(batch.users, batch.items, drawn.layers, ego, drawn.positive_layers)


class PairLoss(Loss):
    """A loss per positive, from its score and the scores of its negatives."""

    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """See `Loss.score`."""
        positive, negative, squares = pair_scores(encoded, ego, batch, drawn)
        return Scored(self(positive, negative, drawn.weights), squares, positive, negative)

    @abstractmethod
    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of each positive.

        Shape:
            positive: [T, B]; negative, weights: [T, B, K] -> [T, B].
        """


class GroupLoss(Loss):
    """A loss per user, for samplers that work on user groups."""

    groups = True
    positives: Positives

    def start(self, positives: Positives) -> None:
        """Keep the train pairs of a stage, which losses over all of a user's items need."""
        self.positives = positives

    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """See `Loss.score`."""
        users = batch.users
        losses, squares = self(encoded, ego, users, drawn)
        positive = encoded.score(users, drawn.group[..., :1])[..., 0]
        return Scored(losses, squares, positive, encoded.score(users, drawn.items))

    @abstractmethod
    def forward(
        self, encoded: Encoded, ego: Encoded, users: Tensor, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """Return each user's loss, and half the squared norms of the ego rows in it.

        Shape:
            users: [T, B]; drawn: of these users -> losses, squares [T, B].
        """
