"""A trial that was asked for: its config, its run folder, and all checks before any training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.config.components import component_class
from hapens_bench.config.identity import run_id
from hapens_bench.config.mistakes import is_mistake, sentence
from hapens_bench.config.paths import archive_dir, lacks_tuned_file
from hapens_bench.config.quoting import hapens_command
from hapens_bench.data.interactions import Split
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.launch.devices import pick_device
from hapens_bench.launch.memory import check_memory
from hapens_bench.launch.validate import check
from hapens_bench.models.fitted import is_fitted
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
    before: bool = False  # done before this command
    floor: Mapping[int, float] = field(default_factory=dict)
    for_arrays: bool = False  # whether another trial needs the arrays that it leaves

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, runs/<dataset>/<model>/<sampler>/<run_id>.

        Where it is not finished and an archive has the run, the archived run: unless the arrays are
        wanted that the run leaves for others, which are not archived.
        """
        own = run_folder(self.config)
        archives = archive_dir(self.config["archive"])
        if archives is None or self.for_arrays or self.config["resume"] == "force":
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
        if needed is None:
            return None
        return Job({**needed, "resume": "auto"}, self.overrides, for_arrays=True)

    def is_done(self) -> bool:
        """Return whether the run is finished, and its files for other trials can be read.

        A trial whose tuned file is missing is not done: a finished run of its settings is an
        untuned run.
        """
        if lacks_tuned_file(self.config):
            return False
        if self.archived:
            return True
        try:
            for key, name in ARTEFACTS.items():
                if self.config["trainer"].get(key):
                    self.folder.read_arrays(name)
        except DamagedRun:
            return False
        return self.folder.is_done()

    @property
    def command(self) -> str:
        """The command that runs this trial alone."""
        return hapens_command("train", *self.overrides)

    def refused(self, why: str) -> UserError:
        """Return the error that refuses this job of a sweep."""
        return UserError(f"{shlex.join(self.overrides)}: {why}")

    def objective(self) -> float | None:
        """Return what an optimiser may see: the best monitored metric on the validation part.

        None where no selection uses the validation part.
        """
        value = self.folder.read_summary()["validation"]
        return None if value is None else float(value)


def composed_job(
    overrides: Sequence[str],
    compose: Callable[[Sequence[str]], Config],
    places: Sequence[str] = (),
) -> Job:
    """Compose one job of several; `places` are overrides that are not part of its name.

    Raises:
        UserError: when it cannot be composed; it names the job.
    """
    job = Job({}, list(overrides))
    try:
        job.config = compose([*overrides, *places])
    except Exception as error:
        if not is_mistake(error):
            raise
        raise job.refused(sentence(error, overrides)) from None
    return job


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
    if not is_fitted(config):
        _check_sampling(config, split)
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


def _check_sampling(config: Config, split: Split) -> None:
    """Refuse pools and batches that the data are too small for."""
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
        UserError: for the first job that cannot be trained; of several, its overrides are named.
    """
    for step in (_check_config, _check_on_data, _check_prerequisite):
        for job in jobs:
            try:
                step(job)
            except UserError as error:
                raise error if len(jobs) == 1 else job.refused(str(error)) from None


def _check_config(job: Job) -> None:
    check(job.config)
    pick_device(job.config["trainer"]["device"])
    try:
        Path(job.config["paths"]["runs"]).expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"paths.runs cannot be written: {error}") from None


def _check_on_data(job: Job) -> None:
    split = load_split(job.config)
    check_against_data(job.config, split)
    check_memory(job.config, split, pick_device(job.config["trainer"]["device"]))
    resume = job.config["resume"]
    if resume != "force" and job.is_done():
        job.state, job.before = "done", True
    elif resume == "never" and (job.folder.path / "status.json").exists():
        raise UserError(
            f"{job.folder.path} was begun and resume=never; take resume=auto or resume=force"
        )


def _check_prerequisite(job: Job) -> None:
    if job.prerequisite is None:
        return
    try:
        prepare([job.prerequisite])
    except UserError as error:
        name = job.config["sampler"]["name"]
        raise UserError(f"what sampler={name} needs first cannot be trained: {error}") from None
