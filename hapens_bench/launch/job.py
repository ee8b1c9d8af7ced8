"""A trial that was asked for: its config, its run folder, and all checks before any training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.config.components import component_class
from hapens_bench.config.identity import run_id
from hapens_bench.config.paths import archive_dir, lacks_tuned_file
from hapens_bench.data.interactions import Split
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.launch.devices import pick_device
from hapens_bench.launch.memory import check_memory
from hapens_bench.launch.validate import check
from hapens_bench.runs.archive import ArchivedRun, archived
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import ARTEFACTS, RunFolder, run_folder

Config = Mapping[str, Any]


@dataclass
class Job:
    """One trial that was asked for: its config, the overrides that gave it, and how it ended.

    `floor` is the value that its best validation value so far must reach, by epoch; below it, the
    trial is pruned.
    """

    config: Config
    overrides: list[str]
    state: str = "to run"  # then done | failed | pruned | busy
    reason: str = ""
    floor: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, runs/<dataset>/<model>/<sampler>/<run_id>.

        Where it is not finished and an archive has the run, the archived run. Trials that leave
        arrays for others are not archived whole, so they are trained.
        """
        own = run_folder(self.config)
        archives = archive_dir(self.config["archive"])
        leaves = any(self.config["trainer"][key] for key in ARTEFACTS)
        if archives is None or leaves or self.config["resume"] == "force":
            return own
        found = archived(archives, run_id(self.config))
        return own if found is None or own.state() == "done" else found

    @property
    def archived(self) -> bool:
        """Whether the results come from an archive."""
        return isinstance(self.folder, ArchivedRun)

    @cached_property
    def prerequisite(self) -> Job | None:
        """The trial that must be done before this one, if any.

        `resume=force` retrains this trial, not its prerequisite.
        """
        needed = component_class(self.config["sampler"]).prerequisite(self.config)
        return None if needed is None else Job({**needed, "resume": "auto"}, self.overrides)

    def is_done(self) -> bool:
        """Return whether the run is finished, and its files for other trials can be read.

        A trial whose tuned file is missing is not done: a finished run of its settings is an
        untuned run.
        """
        if lacks_tuned_file(self.config):
            return False
        try:
            for key, name in ARTEFACTS.items():
                if self.config["trainer"][key]:
                    self.folder.read_arrays(name)
        except DamagedRun:
            return False
        return self.folder.is_done()

    @property
    def command(self) -> str:
        """The command that runs this trial alone."""
        return " ".join(["python -m hapens_bench", *(quote(o) for o in self.overrides)])

    def objective(self) -> float | None:
        """Return what an optimiser may see: the best monitored metric on the validation part.

        None where no selection uses the validation part.
        """
        value = self.folder.read_summary()["validation"]
        return None if value is None else float(value)


def quote(override: str) -> str:
    """Quote an override for the shell where needed."""
    return f"'{override}'" if set(override) & set(' ()[]{}*?$&;|<>"') else override


@lru_cache(maxsize=4)
def _load_split(dataset: str, protocol: str, cache: str, mirror: str | None) -> Split:
    folder = Path(mirror).expanduser() if mirror else None
    return load(json.loads(dataset), json.loads(protocol), Path(cache).expanduser(), folder)


def load_split(config: Config) -> Split:
    """Load the split of a config; the last few are kept, so a sweep reads each data set once."""
    paths = config["paths"]
    return _load_split(
        json.dumps(config["dataset"]),
        json.dumps(config["protocol"]),
        paths["cache"],
        paths["mirror"],
    )


def check_against_data(config: Config, split: Split) -> None:
    """Refuse what only the data show to be impossible.

    Raises:
        UserError: with one sentence.
    """
    kept_out = split.full_train[:, 0]
    if config["protocol"]["negatives"] == "exclude_held_out":
        kept_out = np.concatenate([kept_out, split.test[:, 0]])
    most = int(np.bincount(kept_out, minlength=split.n_users).max())
    key = component_class(config["sampler"]).pool_key
    M = config["sampler"].get(key, 1)
    if split.n_items - most < M:
        raise UserError(
            f"sampler.{key} is {M}, but {config['dataset']['name']} has {split.n_items} items "
            f"and a user who has interacted with {most} of them; "
            f"sampler.{key} may be at most {split.n_items - most}"
        )
    wants_valid = {"valid", "valid_refit"} & set(config["protocol"]["selection"])
    if wants_valid and not len(split.valid):
        raise UserError(
            f"protocol.selection asks for {', '.join(sorted(wants_valid))}, "
            "but protocol.valid.share leaves no validation part"
        )
    if not len(split.test):
        raise UserError(
            f"protocol.split leaves no test interactions of {config['dataset']['name']}"
        )
    groups = component_class(config["sampler"]).groups
    n, what = (
        (len(np.unique(split.train[:, 0])), "users")
        if groups
        else (len(split.train), "interactions")
    )
    if config["trainer"]["batch_size"] > n and config["trainer"]["drop_last"]:
        raise UserError(
            f"trainer.batch_size is {config['trainer']['batch_size']}, "
            f"but there are {n} train {what} and trainer.drop_last leaves out incomplete batches; "
            "take a smaller batch or trainer.drop_last=false"
        )


def prepare(jobs: Sequence[Job]) -> None:
    """Check all jobs, their data and prerequisites before any training; mark the finished ones.

    Raises:
        UserError: for the first job that cannot be trained.
    """
    for job in jobs:
        check(job.config)
        pick_device(job.config["trainer"]["device"])
        try:
            Path(job.config["paths"]["runs"]).expanduser().mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"paths.runs cannot be written: {error}") from None
    for job in jobs:
        split = load_split(job.config)
        check_against_data(job.config, split)
        check_memory(job.config, split, pick_device(job.config["trainer"]["device"]))
        resume = job.config["resume"]
        if resume != "force" and job.is_done():
            job.state = "done"
        elif resume == "never" and (job.folder.path / "status.json").exists():
            raise UserError(
                f"{job.folder.path} was begun and resume=never; take resume=auto or resume=force"
            )
    needed = [job.prerequisite for job in jobs if job.prerequisite is not None]
    if needed:
        try:
            prepare(needed)
        except UserError as error:
            name = jobs[0].config["sampler"]["name"]
            raise UserError(f"what sampler={name} needs first cannot be trained: {error}") from None
