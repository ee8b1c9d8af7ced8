"""Which finished runs a figure is made of: those of an experiment or of a folder of runs, filtered by what their configs say."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import planned
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load

Where = Mapping[str, Sequence[str]]
NAMES = {  # what the short keys of a filter stand for
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
    """A finished run; its config and history are read when they are first asked for."""

    summary: Mapping[str, Any]
    folder: RunFolder

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""
        return self._read(self.folder.read_config)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row an epoch."""
        return self._read(lambda: self.folder.read_frame("history"))

    @cached_property
    def indicators(self) -> pd.DataFrame:
        """A row a pair whose truth is known, with what the sampler remembered of it."""
        return self._read(lambda: self.folder.read_frame("indicators"))

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except DamagedRun as error:
            raise UserError(
                f"{self.folder.path}: {error}; move this run folder away, or train it again"
            ) from None


def finished(runs: Sequence[Mapping[str, Any]]) -> list[Finished]:
    """Give a ledger's runs as finished runs."""
    return [Finished(run, RunFolder(Path(run["folder"]))) for run in runs]


class Configured(Protocol):
    """Whatever has a resolved config: a run, or a job that has not been run."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""


C = TypeVar("C", bound=Configured)


def parse_where(words: Sequence[str]) -> dict[str, list[str]]:
    """Read `key=value[,value]` words; a key that is typed twice takes the values of both.

    Raises:
        UserError: for a word that is not of this form.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, _, values = word.partition("=")
        if not key or not values:
            raise UserError(f"--where takes key=value[,value], as sampler.M=8,16, and not {word!r}")
        found.setdefault(key, []).extend(values.split(","))
    return found


def from_ledger(runs: Path, where: Where) -> tuple[list[Finished], list[str]]:
    """Give the finished runs below a folder that pass the filter, and what could not be read.

    Raises:
        UserError: when there are none.
    """
    ledger = load(runs)
    notes = [f"skipped {what}" for what in ledger.skipped]
    if not ledger.runs:
        raise UserError("; ".join([f"there is no finished run below {runs}", *notes[:1]]))
    short = [key for key in where if key in IN_SUMMARY]
    passing = [run for run in ledger.runs if all(_holds(run[key], where[key]) for key in short)]
    found = (
        passing or ledger.runs
    )  # so that fewer configs are read; where none passes, `narrow` says why
    return narrow(finished(found), where), notes


def from_experiment(name: str, runs: Path, where: Where) -> tuple[list[Finished], list[str]]:
    """Give the finished runs of an experiment that pass the filter, and the commands of those that have not been run.

    Raises:
        UserError: when there is no such experiment, or no finished run of it.
    """
    jobs = narrow([one.job for one in planned(name, runs)], where)
    is_done = [job.is_done() for job in jobs]
    done = [job.folder for job, known in zip(jobs, is_done, strict=True) if known]
    if not done:
        raise UserError(
            f"none of the {len(jobs)} trials of experiment {name!r} has been run; the first: {jobs[0].command}"
        )
    notes = [
        f"not run yet: {job.command}" for job, known in zip(jobs, is_done, strict=True) if not known
    ]
    return [Finished(folder.read_summary(), folder) for folder in done], notes


def narrow(found: Sequence[C], where: Where) -> list[C]:
    """Keep what has, for every key of the filter, one of its values; a list (protocol.selection) has each of its entries.

    Raises:
        UserError: for a key that none has, and when nothing is left.
    """
    left = list(found)
    for key, wanted in where.items():
        values = [look_up(one.config, NAMES.get(key, key)) for one in left]
        if all(value is ... for value in values):
            section = key.partition(".")[0] + "."
            known = sorted(
                {name for one in left for name in flat(one.config) if name.startswith(section)}
            )
            raise UserError(
                f"--where {key}: the runs have no such key; they have {', '.join([*NAMES, *known])}"
            )
        left = [one for one, value in zip(left, values, strict=True) if _holds(value, wanted)]
        if not left:
            there = sorted(
                {text for value in values if value is not ... for text in _entries(value)},
                key=natural,
            )
            raise UserError(
                f"--where {key}={','.join(wanted)}: no run has it; there is {', '.join(there)}"
            )
    return left


def look_up(config: Mapping[str, Any], key: str) -> Any:
    """Give the value of a dotted key, `...` where there is none."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ...
        value = value[part]
    return ... if isinstance(value, Mapping) else value


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give a config as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": value}
        )
    return found


def as_text(value: Any) -> str:
    """Write a value so that equal ones look equal: 1, 1.0 and "1"; true and True."""
    if isinstance(value, list):
        return "+".join(map(as_text, value))
    if value is None or str(value) in ("True", "False"):
        return "null" if value is None else str(value).lower()
    number = as_number(value)
    return str(value) if number is None else f"{number:.17g}"


def as_number(value: Any) -> float | None:
    """Read a finite number; None where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def natural(text: str) -> tuple[float, str]:
    """Give what sorts texts as a reader would: numbers by size, before words."""
    number = as_number(text)
    return (math.inf if number is None else number, text)


def _holds(value: Any, wanted: Collection[str]) -> bool:
    return value is not ... and bool(set(_entries(value)) & set(map(as_text, wanted)))


def _entries(value: Any) -> Iterator[str]:
    yield from map(as_text, value if isinstance(value, list) else [value])
