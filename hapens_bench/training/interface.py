"""What the trainer asks of a stage, a pack and an epoch, whatever the kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from hapens_bench.evaluation.ranking import PerUser, Ranking

Ranker = Callable[[Ranking, Sequence[int]], list[PerUser]]


class Trained(Protocol):
    """Trials in training side by side: a `Pack`, or a `Fit` of one."""

    def keep(self, trials: Sequence[int]) -> None:
        """Keep the given trials only."""

    def snapshot(self, over: list[Tensor] | None = None) -> list[Tensor]:
        """Copy every tensor that an epoch changes, over an earlier copy where that fits."""

    def restore(self, snapshot: list[Tensor]) -> None:
        """Undo everything since a snapshot."""

    def trial_state(self, t: int) -> dict[str, Any]:
        """Copy what trial t needs to continue."""

    def load_trial_state(self, t: int, state: Mapping[str, Any]) -> None:
        """Put a saved trial in place t."""


class Loop(Protocol):
    """Trains for an epoch at a time; `uncaptured` says why a GPU does not replay its steps."""

    uncaptured: str | None

    def run(self, epoch: int) -> list[dict[str, Any]]:
        """Train for one epoch; return a row for each trial."""


class Setting(Protocol):
    """A stage: a `Stage`, or a `FitStage`. It takes the packs that it makes."""

    def pack(self, configs: Sequence[Mapping[str, Any]]) -> Trained:
        """Build the pack of some trials."""

    def loop(self, pack: Any) -> Loop:
        """Prepare to train a pack, epoch by epoch."""

    def ranker(self, pack: Any) -> Ranker:
        """Return what ranks by the present scores, of the trials at given places."""

    def indicators(self, pack: Any, t: int) -> dict[str, Tensor]:
        """Return what trial t remembers of the pairs with known relevance."""
