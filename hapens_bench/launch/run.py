"""From resolved configs to finished run folders: check everything, then train."""

from __future__ import annotations

import contextlib
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console

import hapens_bench
from hapens_bench.config import check, run_id
from hapens_bench.data.interactions import Split
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.kernels.cpu import set_threads
from hapens_bench.tracking.console import ConsoleSink
from hapens_bench.tracking.run_folder import RunBusy, RunFolder
from hapens_bench.tracking.sink import RunInfo, SafeSinks, Sink
from hapens_bench.training.trainer import Trainer
from hapens_bench.training.trial import Trial

Config = Mapping[str, Any]


@dataclass
class Job:
    """One trial that was asked for: its config, the overrides that gave it, and what became of it."""

    config: Config
    overrides: list[str]
    state: str = "to run"  # then done | failed | busy
    reason: str = ""

    @property
    def folder(self) -> RunFolder:
        """The run folder, runs/<dataset>/<model>/<sampler>/<run_id>."""
        config = self.config
        path = Path(config["paths"]["runs"]).expanduser() / config["dataset"]["name"]
        return RunFolder(path / config["model"]["name"] / config["sampler"]["name"] / run_id(config))

    @property
    def command(self) -> str:
        """The command that runs this trial alone."""
        return " ".join(["python -m hapens_bench", *(quote(o) for o in self.overrides)])

    def objective(self) -> float:
        """Give the monitored metric of the most honest selection that was run."""
        reports = self.folder.read_summary()["selection"]
        best = next(s for s in ("valid_refit", "valid", "test_peak") if s in reports)
        return float(reports[best]["test"][self.config["protocol"]["monitor"]])


def quote(override: str) -> str:
    """Quote an override for the shell where it needs it."""
    return f"'{override}'" if set(override) & set(' ()[]{}*?$&;|<>"') else override


@lru_cache(maxsize=4)
def _load_split(dataset: str, protocol: str, cache: str, mirror: str | None) -> Split:
    folder = Path(mirror).expanduser() if mirror else None
    return load(json.loads(dataset), json.loads(protocol), Path(cache).expanduser(), folder)


def load_split(config: Config) -> Split:
    """Load the split of a config; the last few are kept, so a sweep reads each data set once."""
    paths = config["paths"]
    return _load_split(json.dumps(config["dataset"]), json.dumps(config["protocol"]), paths["cache"], paths["mirror"])


def check_against_data(config: Config, split: Split) -> None:
    """Refuse what only the data can tell to be impossible.

    Raises:
        UserError: with one sentence.
    """
    most = int(np.bincount(split.full_train[:, 0], minlength=split.n_users).max())
    M = config["sampler"].get("M", 1)
    if split.n_items - most < M:
        raise UserError(
            f"sampler.M is {M}, but {config['dataset']['name']} has {split.n_items} items and a user who has interacted with "
            f"{most} of them; sampler.M may be at most {split.n_items - most}"
        )
    wants_valid = {"valid", "valid_refit"} & set(config["protocol"]["selection"])
    if wants_valid and not len(split.valid):
        raise UserError(
            f"protocol.selection asks for {', '.join(sorted(wants_valid))}, but protocol.valid.share leaves no validation part"
        )
    if not len(split.test):
        raise UserError(f"protocol.split leaves no test interactions of {config['dataset']['name']}")
    if config["trainer"]["batch_size"] > len(split.train) and config["trainer"]["drop_last"]:
        raise UserError(
            f"trainer.batch_size is {config['trainer']['batch_size']}, but there are {len(split.train)} train interactions "
            "and trainer.drop_last leaves out incomplete batches; take a smaller batch or trainer.drop_last=false"
        )


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device.

    Raises:
        UserError: when there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"trainer.device is {name!r}, but it takes auto, cpu, cuda or cuda:N") from None
    count = torch.cuda.device_count()
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= count):
        raise UserError(f"trainer.device is {name!r}, but this machine has the CPU and {count} CUDA devices")
    return device


def prepare(jobs: Sequence[Job]) -> None:
    """Check every job, data included, before any of them trains; mark those that are already done.

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
        check_against_data(job.config, load_split(job.config))
        resume = job.config["resume"]
        if resume != "force" and job.folder.is_done():
            job.state = "done"
        elif resume == "never" and (job.folder.path / "status.json").exists():
            raise UserError(f"{job.folder.path} was begun and resume=never; take resume=auto or resume=force")


def run_jobs(jobs: Sequence[Job]) -> None:
    """Train what is not done; each job's `state` and `reason` say what became of it, and no failure stops the others."""
    for job in jobs:
        if job.state == "to run":
            try:
                run_job(job, single=len(jobs) == 1)
            except RunBusy:
                job.state, job.reason = "busy", "another process is training it"
            except Exception as error:
                job.state, job.reason = "failed", f"{type(error).__name__}: {error}"


def run_job(job: Job, single: bool) -> None:
    """Train one trial into its run folder, under its lock."""
    folder = job.folder
    with folder.lock():
        if job.config["resume"] == "force":
            folder.remove_checkpoint()
        job.state, job.reason = _train(job.config, folder, single)


def _train(config: Config, folder: RunFolder, single: bool) -> tuple[str, str]:
    split = load_split(config)
    set_threads(config["trainer"]["threads"])
    sinks = SafeSinks([ConsoleSink(config["trainer"]["epochs"], single), *make_sinks(config)])
    trial = Trial(config, folder, sinks)
    if trial.restore():
        Console(stderr=True).print(f"continuing {folder.path} at epoch {trial.progress.next_epoch}")
    folder.write_config(OmegaConf.to_yaml(OmegaConf.create(dict(config))))
    folder.write_status("running")
    sinks.start(describe(config, folder))
    with failure_noted(folder, sinks):
        Trainer([trial], split, pick_device(config["trainer"]["device"])).run()
        if trial.failure is None:
            finish(trial, split)
            return "done", ""
    folder.write_status("failed", trial.failure)
    sinks.fail(trial.failure)
    return "failed", trial.failure


@contextlib.contextmanager
def failure_noted(folder: RunFolder, sinks: SafeSinks) -> Iterator[None]:
    """Leave no folder saying "running" when training ends in an exception."""
    try:
        yield
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        folder.write_status("failed", reason)
        sinks.fail(reason)
        raise


def finish(trial: Trial, split: Split) -> None:
    """Write what the trial found, in an order that a kill cannot spoil: the status comes last."""
    config, folder, progress = trial.config, trial.folder, trial.progress
    summary = {
        "run_id": trial.run_id,
        "config_id": trial.config_id,
        "dataset": config["dataset"]["name"],
        "protocol": config["protocol"]["name"],
        "model": config["model"]["name"],
        "sampler": config["sampler"]["name"],
        "seed": config["seed"],
        "selection": trial.results(),
        "data_hash": split.data_hash,
        "git_sha": git_sha(),
        "versions": versions(),
        "epochs_trained": len(progress.rows),
        "train_seconds": progress.seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    folder.write_history(progress.rows)
    folder.write_users(trial.users_frame())
    folder.write_summary(summary)
    folder.write_status("done")
    if not config["trainer"]["keep_checkpoint"]:
        folder.remove_checkpoint()
    trial.sinks.finish(summary)


def describe(config: Config, folder: RunFolder) -> RunInfo:
    """Name a run for the sinks."""
    parts = [config[section]["name"] for section in ("dataset", "model", "sampler")]
    return RunInfo(
        run_id=run_id(config),
        name="-".join([*parts, f"s{config['seed']}"]),
        group=f"{parts[0]}-{parts[1]}-{config['protocol']['name']}",
        folder=folder.path,
        config=dict(config),
        flat=dict(zip(("dataset", "model", "sampler"), parts, strict=True)) | {"seed": config["seed"]},
    )


def make_sinks(config: Config) -> list[Sink]:
    """Make the trackers that `logger` names."""
    return [instantiate(section) for section in config["logger"].values()]


@lru_cache(maxsize=1)
def git_sha() -> str:
    """Give the commit of the checkout the package runs from, with `-dirty` for changes, or its version."""
    home = Path(hapens_bench.__file__).parent.parent
    try:
        call = ["git", "-C", str(home), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"version {hapens_bench.__version__}"


def versions() -> dict[str, str]:
    """Give the versions that a result may depend on."""
    return {
        "hapens_bench": hapens_bench.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
