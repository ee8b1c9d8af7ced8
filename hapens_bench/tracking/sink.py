"""What is told while a trial runs, and to whom; the run folder is the truth, sinks only mirror it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

LOG = logging.getLogger("hapens_bench.tracking")


@dataclass(frozen=True)
class RunInfo:
    """What a sink is told of a run: its id, a readable name, its group, folder, config, and the flat keys to filter by."""

    run_id: str
    name: str
    group: str
    folder: Path
    config: dict[str, Any]
    flat: dict[str, Any]


class Sink(Protocol):
    """A place that wants to know how a trial goes."""

    def start(self, run: RunInfo) -> None:
        """Begin or continue a run."""

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Take the history row of an epoch."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Take the summary of a run that is done."""

    def fail(self, reason: str) -> None:
        """Take the reason why a run ended early."""


class SafeSinks:
    """Several sinks as one; a sink that throws is told to `fail`, dropped with a warning, and never costs a run."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = list(sinks)

    def start(self, run: RunInfo) -> None:
        """See `Sink.start`."""
        self._each(lambda sink: sink.start(run))

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """See `Sink.log`."""
        self._each(lambda sink: sink.log(stage, epoch, row))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """See `Sink.finish`."""
        self._each(lambda sink: sink.finish(summary))

    def fail(self, reason: str) -> None:
        """See `Sink.fail`."""
        self._each(lambda sink: sink.fail(reason))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self.sinks):
            try:
                call(sink)
            except Exception as error:
                LOG.warning("%s failed and is left out from here on: %s", type(sink).__name__, error)
                self.sinks.remove(sink)
                with contextlib.suppress(Exception):
                    sink.fail(f"the tracker failed: {error}")
