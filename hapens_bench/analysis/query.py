"""The finished runs behind a figure: those of an experiment or a folder, filtered by config."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from hapens_bench.config.dotted import flat, look_up
from hapens_bench.errors import UserError, did_you_mean
from hapens_bench.runs.archive import open_run
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load

Where = Mapping[str, Sequence[str]]
NAMES = {  # the short keys of a filter
    "dataset": "dataset.name",
    "model": "model.name",
    "protocol": "protocol.name",
    "sampler": "sampler.name",
    "seed": "seed",
    "selection": "protocol.selection",
}
IN_SUMMARY = ("dataset", "model", "protocol", "sampler", "seed")


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run; its config and history are read on first use."""

    summary: Mapping[str, Any]
    folder: RunFolder

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""
        return self._read(self.folder.read_config)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch."""
        return self._read(lambda: self.folder.read_frame("history"))

    @cached_property
    def indicators(self) -> pd.DataFrame:
        """A row for each pair of known relevance, with the sampler's state for it."""
        return self._read(lambda: self.folder.read_frame("indicators"))

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except DamagedRun as error:
            raise UserError(
                f"{self.folder.path}: {error}; move this run folder away, or train it again"
            ) from None


def finished(runs: Sequence[Mapping[str, Any]]) -> list[Finished]:
    """Return a ledger's runs as finished runs."""
    return [Finished(run, open_run(run["folder"])) for run in runs]


class Configured(Protocol):
    """Anything with a resolved config: a run, or a job that has not been run."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""


C = TypeVar("C", bound=Configured)


def parse_where(words: Sequence[str]) -> dict[str, list[str]]:
    """Parse `key=value[,value]` words; a key typed twice takes the values of both.

    Raises:
        UserError: for a word in any other form.
    """
    where: dict[str, list[str]] = {}
    for word in words:
        key, _, values = word.partition("=")
        if not key or not values:
            raise UserError(f"--where takes key=value[,value], as sampler.M=8,16, and not {word!r}")
        where.setdefault(key, []).extend(values.split(","))
    return where


def from_ledger(
    runs: Path, where: Where, archive: Path | None = None
) -> tuple[list[Finished], list[str]]:
    """Return the finished runs below a folder and of an archive that pass the filter, and notes.

    Raises:
        UserError: when there are none.
    """
    ledger = load(runs, archive)
    notes = [f"skipped {what}" for what in ledger.skipped]
    if not ledger.runs:
        raise UserError("; ".join([f"there is no finished run below {runs}", *notes[:1]]))
    short = [key for key in where if key in IN_SUMMARY]
    passing = [run for run in ledger.runs if all(_holds(run[key], where[key]) for key in short)]
    # Filtering by summary first reads fewer configs; if no run passes, `narrow` says why.
    return narrow(finished(passing or ledger.runs), where), notes


def from_experiment(
    name: str, runs: Path, where: Where, archive: Path | None = None
) -> tuple[list[Finished], list[str]]:
    """Return the finished runs of an experiment that pass the filter.

    The notes hold the commands of the trials that have not been run.


    Raises:
        UserError: when there is no such experiment, or no finished run of it.
    """
    # it imports torch, and what only reads run folders does without
    from hapens_bench.launch.experiments import planned

    jobs = narrow([trial.job for trial in planned(name, runs, archive=archive)], where)
    is_done = [job.is_done() for job in jobs]
    done = [job.folder for job, known in zip(jobs, is_done, strict=True) if known]
    if not done:
        raise UserError(
            f"none of the {len(jobs)} trials of experiment {name!r} has been run; "
            f"the first: {jobs[0].command}"
        )
    notes = [
        f"not run yet: {job.command}" for job, known in zip(jobs, is_done, strict=True) if not known
    ]
    return [Finished(folder.read_summary(), folder) for folder in done], notes


def narrow(candidates: Sequence[C], where: Where) -> list[C]:
    """Keep the candidates that have one of the wanted values for every key of the filter.

    A list such as protocol.selection matches by any of its entries.

    Raises:
        UserError: for a key that no candidate has, and when nothing is left.
    """
    left = list(candidates)
    for key, wanted in where.items():
        values = [look_up(candidate.config, NAMES.get(key, key)) for candidate in left]
        if all(value is ... for value in values):
            section = key.partition(".")[0] + "."
            known = sorted(
                {
                    name
                    for candidate in left
                    for name in flat(candidate.config)
                    if name.startswith(section)
                }
            )
            raise UserError(
                f"--where {key}: the runs have no such key; they have {', '.join([*NAMES, *known])}"
                + did_you_mean(key, [*NAMES, *known])
            )
        left = [
            candidate
            for candidate, value in zip(left, values, strict=True)
            if _holds(value, wanted)
        ]
        if not left:
            there = sorted(
                {text for value in values if value is not ... for text in _entries(value)},
                key=natural,
            )
            raise UserError(
                f"--where {key}={','.join(wanted)}: no run has it; there is {', '.join(there)}"
            )
    return left


def as_text(value: Any) -> str:
    """Return a value as text, the same for equal values: 1, 1.0 and "1"; true and True."""
    if isinstance(value, list):
        return "+".join(map(as_text, value))
    if value is None or str(value) in ("True", "False"):
        return "null" if value is None else str(value).lower()
    number = as_number(value)
    return str(value) if number is None else f"{number:.17g}"


def as_number(value: Any) -> float | None:
    """Return a finite number, or None where the value is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def natural(text: str) -> tuple[float, str]:
    """Return a key that sorts texts as a reader would: numbers by size, before words."""
    number = as_number(text)
    return (math.inf if number is None else number, text)


def _holds(value: Any, wanted: Collection[str]) -> bool:
    return value is not ... and bool(set(_entries(value)) & set(map(as_text, wanted)))


def _entries(value: Any) -> Iterator[str]:
    yield from map(as_text, value if isinstance(value, list) else [value])
