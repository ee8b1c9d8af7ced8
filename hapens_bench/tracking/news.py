"""What a sweep's display is told while packs train: plain values, so that workers can send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """A trial after an epoch: its run id, the part of its epochs that is done, loss and metrics.

    `valid` and `test` are the monitored metric, where it was measured after this epoch.
    """

    run: str
    part: float
    loss: float | None
    valid: float | None
    test: float | None


@dataclass(frozen=True)
class Began:
    """Trials begin; for each the part of its epochs and the best validation value so far."""

    runs: Mapping[str, tuple[float, float | None]]


@dataclass(frozen=True)
class Epoch:
    """An epoch of a pack is over."""

    stage: str
    epoch: int
    epochs: int
    evaluated: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Ended:
    """Trials are over: done, failed, pruned, busy (another process trains them) or interrupted."""

    runs: tuple[str, ...]
    state: str
    reason: str = ""


News = Began | Epoch | Ended
Tell = Callable[[News], None]


def untold(news: News) -> None:
    """Take news that nobody wants to see."""


class Reporter:
    """Tells of a pack's epochs; see `training.trainer.Watcher`."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def epoch(
        self, stage: str, epoch: int, trials: Sequence[Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Tell of an epoch."""
        steps = tuple(
            Step(
                trial.run_id,
                part_done(trial, stage, epoch + 1),
                row.get("train/loss"),
                row.get(f"valid/{trial.monitor}"),
                row.get(f"test/{trial.monitor}"),
            )
            for trial, row in zip(trials, rows, strict=True)
        )
        evaluated = any(row["evaluated"] for row in rows)
        self.tell(Epoch(stage, epoch, trials[0].epochs, evaluated, steps))


def part_done(trial: Any, stage: str, epochs: int) -> float:
    """Return the part of a trial's epochs that is done after these of a stage, at most."""
    if stage == "done":
        return 1.0
    stages = trial.stages
    return float(stages.index(stage) * trial.epochs + epochs) / (len(stages) * trial.epochs)
