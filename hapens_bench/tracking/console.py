"""Progress of a trial in training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from hapens_bench.tracking.screen import screen
from hapens_bench.tracking.sink import RunInfo


class ConsoleSink:
    """A bar for a single job on a terminal, else a line per evaluation."""

    def __init__(self, epochs: int, single: bool) -> None:
        self.epochs = epochs
        self.console = screen(stderr=True)
        self.bar: Progress | None = None
        if single and self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Progress(
                *columns, TextColumn("{task.fields[news]}", markup=False), console=self.console
            )
        self.name, self.monitor = "", ""
        self.tasks: dict[str, TaskID] = {}

    def start(self, run: RunInfo) -> None:
        """Show the run's name."""
        self.name, self.monitor = run.name, run.config["protocol"]["monitor"]
        if self.bar:
            self.bar.start()

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Show the loss and, after an evaluation, the monitored metric."""
        names = [f"{part}/{self.monitor}" for part in ("valid", "test")]
        metrics = {name: row[name] for name in names if name in row}
        news = f"loss {row['train/loss']:.4f}"
        news += "".join(f"  {name} {value:.4f}" for name, value in metrics.items())
        if self.bar:
            if stage not in self.tasks:
                self.tasks[stage] = self.bar.add_task(
                    f"{self.name} {stage}", total=self.epochs, news=""
                )
            self.bar.update(self.tasks[stage], completed=epoch + 1)
            if metrics:
                self.bar.update(self.tasks[stage], news=news)
        elif metrics:
            self.console.print(f"{self.name} {stage} epoch {epoch}  {news}", soft_wrap=True)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()

    def fail(self, reason: str) -> None:
        """Remove the bar and print the reason."""
        if self.bar:
            self.bar.stop()
        self.console.print(f"{self.name} stopped: {reason}", soft_wrap=True)


class PackLine:
    """A line per evaluation of a pack, with the range of its trials' losses and metrics."""

    def __init__(self) -> None:
        self.console = screen(stderr=True)
        self.begun = time.monotonic()

    def epoch(
        self, stage: str, epoch: int, trials: Sequence[Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """See `training.trainer.Watcher`."""
        config = trials[0].config
        columns = {"loss": [row["train/loss"] for row in rows]}
        monitor = config["protocol"]["monitor"]
        for part in ("valid", "test"):
            columns[f"{part}/{monitor}"] = [
                row[f"{part}/{monitor}"] for row in rows if f"{part}/{monitor}" in row
            ]
        if len(columns) == 1 or not any(row["evaluated"] for row in rows):
            return
        name = "-".join(config[section]["name"] for section in ("dataset", "model", "sampler"))
        news = "  ".join(f"{name} {min(x):.4f}..{max(x):.4f}" for name, x in columns.items() if x)
        seconds = time.monotonic() - self.begun
        text = f"{name} x {len(trials)} {stage} epoch {epoch}  {news}  {seconds:.0f} s"
        self.console.print(text, soft_wrap=True)
