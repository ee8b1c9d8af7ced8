"""Which epoch is reported, and when training may stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class BestEpoch:
    """The best evaluation so far of one monitored metric.

    A value equal to the best counts as an improvement, as in the code of the MixGCF family (so a
    plateau is followed to its end). `patience` counts evaluations without improvement; None never
    stops.
    """

    patience: int | None
    value: float = float("-inf")
    epoch: int = -1
    waited: int = 0

    def update(self, epoch: int, value: float) -> bool:
        """Take an evaluation; tell whether it is the best so far."""
        if value >= self.value:
            self.value, self.epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Give the fields as plain numbers, for a checkpoint."""
        return asdict(self)
