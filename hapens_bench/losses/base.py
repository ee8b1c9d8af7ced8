"""What a loss is: a number for each positive, from its score and its negatives' scores; or a number for each user."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives
from hapens_bench.samplers.pool import Positives


class Loss(nn.Module, ABC):
    """A loss over positives; the trainer takes the mean over B and the sum over T."""

    weighted: ClassVar[bool] = False  # whether it takes the weights that a sampler may give
    groups: ClassVar[bool] = False
    keys: ClassVar[dict[str, Key]] = {}

    @abstractmethod
    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """Give the loss of each positive.

        Shape:
            positive: [T, B]; negative, weights: [T, B, K] -> [T, B].
        """


class GroupLoss(nn.Module, ABC):
    """A loss over users, for samplers that work on user groups; the trainer takes the mean over B and the sum over T."""

    weighted: ClassVar[bool] = False
    groups: ClassVar[bool] = True
    keys: ClassVar[dict[str, Key]] = {}

    def start(self, positives: Positives) -> None:
        """Look at the train pairs of a stage before its first step."""

    @abstractmethod
    def forward(
        self, encoded: Encoded, ego: Encoded, users: Tensor, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """Give each user's loss, and half the squared norms of the ego rows that it is made of.

        Shape:
            users: [T, B]; drawn: of these users -> losses, squares [T, B].
        """
