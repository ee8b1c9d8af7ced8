"""What is told while a trial runs, and to whom; the run folder is the truth, sinks only mirror it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

LOG = logging.getLogger("hapens_bench.tracking")


@dataclass(frozen=True)
class RunInfo:
    """What a sink is told of a run: its id, a readable name, its group, folder, config, and the flat keys to filter by.

    `rows` is the history that there is already: of a checkpoint, or of a finished run.
    """

    run_id: str
    name: str
    group: str
    folder: Path
    config: dict[str, Any]
    flat: dict[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()


def describe(
    config: Mapping[str, Any], folder: Path, rows: Sequence[Mapping[str, Any]] = ()
) -> RunInfo:
    """Name a run for the sinks; its folder is named by its id."""
    parts = [config[section]["name"] for section in ("dataset", "model", "sampler")]
    return RunInfo(
        run_id=folder.name,
        name="-".join([*parts, f"s{config['seed']}"]),
        group=f"{parts[0]}-{parts[1]}-{config['protocol']['name']}",
        folder=folder,
        config=dict(config),
        flat=dict(zip(("dataset", "model", "sampler"), parts, strict=True))
        | {"seed": config["seed"]},
        rows=tuple(rows),
    )


class Sink(Protocol):
    """A place that wants to know how a trial goes."""

    def start(self, run: RunInfo) -> None:
        """Begin a run with the rows that it has; what was there under its id is replaced."""

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
                why = f"{type(error).__name__}: {error}"
                name = getattr(sink, "label", type(sink).__name__)
                warn_once(f"{name} failed and is left out from here on: {why}")
                self.sinks.remove(sink)
                with contextlib.suppress(Exception):
                    sink.fail(f"the tracker failed: {why}")


@cache
def warn_once(text: str) -> None:
    """Warn, but not again for each trial that loses the same tracker for the same reason."""
    LOG.warning(text)


def curves(stage: str, epoch: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give what trackers draw of an epoch; each stage has its own epoch axis."""
    return {f"{stage}/epoch": epoch} | {
        f"{stage}/{key}": value for key, value in row.items() if "/" in key
    }


def results(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give each selection's epoch and test metrics under flat names."""
    found = {}
    for selection, report in summary["selection"].items():
        found[f"{selection}/epoch"] = report["epoch"]
        found |= {f"{selection}/test/{metric}": value for metric, value in report["test"].items()}
    return found


def results_table(summary: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Give the header and the rows of a run's final table, a row a selection."""
    reports = summary["selection"]
    metrics = list(next(iter(reports.values()))["test"])
    rows = [
        [name, r["epoch"], r["converged"], *(r["test"][m] for m in metrics)]
        for name, r in reports.items()
    ]
    return ["selection", "epoch", "converged", *metrics], rows
