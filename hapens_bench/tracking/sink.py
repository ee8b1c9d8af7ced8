"""Sinks mirror a running trial elsewhere; the run folder is the truth."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from hydra.utils import instantiate

LOG = logging.getLogger("hapens_bench.tracking")


@dataclass(frozen=True)
class RunInfo:
    """What a sink gets of a run: its id, name, group, tags, folder and config.

    `columns` has what to filter by, under dotted keys.
    `rows` is the existing history, of a checkpoint or of a finished run.
    """

    run_id: str
    name: str
    group: str
    tags: tuple[str, ...]
    folder: Path
    config: dict[str, Any]
    columns: dict[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()


class Sink(Protocol):
    """A tracker that mirrors a trial."""

    def start(self, run: RunInfo) -> None:
        """Begin a run with its existing rows; it replaces what the tracker had under its id."""

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Log the history row of an epoch."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log the summary of a finished run."""

    def fail(self, reason: str) -> None:
        """Log why a run ended early."""


class SafeSinks:
    """Several sinks as one.

    A sink that raises is told to `fail` and dropped with a warning; it never costs a run.
    """

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
                name = type(sink).__name__
                warn_once(f"{name} failed and is left out from here on: {explain(error)}")
                self.sinks.remove(sink)
                with contextlib.suppress(Exception):
                    sink.fail(f"the tracker failed: {explain(error)}")


def make(section: Mapping[str, Any]) -> Sink:
    """Create the tracker of a section of `logger`; its limit is kept by whoever calls it."""
    sink: Sink = instantiate({key: value for key, value in section.items() if key != "limit"})
    return sink


def explain(error: Exception) -> str:
    """Return an error in words."""
    return f"{type(error).__name__}: {error}"


@cache
def warn_once(text: str) -> None:
    """Warn once, not for each trial that loses the same tracker for the same reason."""
    LOG.warning(text)


def curves(stage: str, epoch: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what trackers plot of an epoch; each stage has its own epoch axis.

    The stages are `held` (trains without the validation part) and `full` (trains on all of train).
    """
    return {f"{stage}/epoch": epoch} | {
        f"{stage}/{key}": value for key, value in row.items() if "/" in key
    }


def results(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best validation value, and each selection's epoch and test metrics."""
    flat: dict[str, Any] = {}
    if summary.get("validation") is not None:
        flat["validation"] = summary["validation"]
    for selection, report in summary["selection"].items():
        flat[f"{selection}/epoch"] = report["epoch"]
        flat |= {f"{selection}/test/{metric}": value for metric, value in report["test"].items()}
    return flat


def results_table(summary: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the header and the rows of a run's final table, one row per selection."""
    reports = summary["selection"]
    metrics = list(next(iter(reports.values()))["test"])
    rows = [
        [name, r["epoch"], r["converged"], *(r["test"][m] for m in metrics)]
        for name, r in reports.items()
    ]
    return ["selection", "epoch", "converged", *metrics], rows
