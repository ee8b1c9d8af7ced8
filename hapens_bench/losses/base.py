"""What a loss is: a number for each positive, from its score and its negatives' scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from hapens_bench.checks import Key


class Loss(nn.Module, ABC):
    """A loss over positives; the trainer takes the mean over B and the sum over T."""

    keys: ClassVar[dict[str, Key]] = {}

    @abstractmethod
    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Give the loss of each positive.

        Shape:
            positive: [T, B]; negative: [T, B, K] -> [T, B].
        """
