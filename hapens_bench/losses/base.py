"""What a loss is: a number for each positive, from its score and its negatives' scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from hapens_bench.checks import Key


class Loss(nn.Module, ABC):
    """A loss over positives; the trainer takes the mean over B and the sum over T."""

    weighted: ClassVar[bool] = False  # whether it takes the weights that a sampler may give
    keys: ClassVar[dict[str, Key]] = {}

    @abstractmethod
    def forward(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """Give the loss of each positive.

        Shape:
            positive: [T, B]; negative, weights: [T, B, K] -> [T, B].
        """
