"""Progress of a single trial: a bar on a terminal, lines with time stamps elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from hapens_bench.tracking.naming import SWEEP
from hapens_bench.tracking.screen import screen
from hapens_bench.tracking.sink import RunInfo

# All that is told while something trains goes through it, so that it stands above a bar or board.
STDERR = screen(stderr=True)


def is_live() -> bool:
    """Return whether stderr is a terminal on which something can be redrawn.

    Jobs of a sweep that are started one by one may share a terminal, and do not redraw it.
    """
    return STDERR.is_interactive and STDERR.file.isatty() and SWEEP not in os.environ


def say(text: str) -> None:
    """Print a line to stderr as it is, in a log file with a time stamp."""
    stamp = "" if is_live() else f"{datetime.now():%Y-%m-%d %H:%M:%S}  "
    STDERR.print(f"{stamp}{text}", highlight=False, markup=False, soft_wrap=True)


class ConsoleSink:
    """A bar on a terminal, else a line per evaluation."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.bar: Progress | None = None
        if is_live():
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Progress(
                *columns,
                TextColumn("{task.fields[news]}", markup=False),
                console=STDERR,
                redirect_stdout=sys.stdout.isatty(),
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
        found = {"loss": row.get("train/loss"), **metrics}  # a closed form has no loss
        news = "  ".join(f"{name} {x:.4f}" for name, x in found.items() if x is not None)
        if self.bar:
            if stage not in self.tasks:
                self.tasks[stage] = self.bar.add_task(
                    f"{self.name} {stage}", total=self.epochs, news=""
                )
            self.bar.update(self.tasks[stage], completed=epoch + 1)
            if metrics:
                self.bar.update(self.tasks[stage], news=news)
        elif metrics:
            say(f"{self.name} {stage} epoch {epoch}  {news}")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()

    def fail(self, reason: str) -> None:
        """Remove the bar and print the reason."""
        if self.bar:
            self.bar.stop()
        say(f"{self.name} stopped: {reason}")
