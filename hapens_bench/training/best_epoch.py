"""Which epoch is reported, and when training may stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class BestEpoch:
    """The best evaluation so far, by one monitored metric.

    A value equal to the best counts as an improvement, as in the code of the MixGCF family, so a
    plateau is followed to its end. `patience` is the number of evaluations without improvement
    after which training stops; None never stops it.
    """

    patience: int | None
    value: float = float("-inf")
    epoch: int = -1
    waited: int = 0

    def update(self, epoch: int, value: float) -> bool:
        """Count an evaluation; return whether it is the best so far."""
        if value >= self.value:
            self.value, self.epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether `patience` evaluations in a row have brought no improvement."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the fields as plain numbers, for a checkpoint."""
        return asdict(self)
