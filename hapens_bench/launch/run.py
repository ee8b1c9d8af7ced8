"""From jobs to finished run folders: train a pack, and record how each of its trials ended."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pandas as pd
import torch
from omegaconf import OmegaConf

from hapens_bench.config.identity import split_id
from hapens_bench.data.interactions import Split
from hapens_bench.launch.devices import device_name, peak_memory
from hapens_bench.launch.job import Config, Job, load_split
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.lock import RunBusy
from hapens_bench.runs.provenance import git_sha, versions
from hapens_bench.termination import Terminated, deferred
from hapens_bench.tracking.background import limited
from hapens_bench.tracking.console import ConsoleSink, say
from hapens_bench.tracking.display import shown
from hapens_bench.tracking.naming import describe
from hapens_bench.tracking.news import Began, Ended, Reporter, Tell, part_done, untold
from hapens_bench.tracking.sink import SafeSinks, Sink
from hapens_bench.training.trainer import Trainer
from hapens_bench.training.trial import Trial, curve, first_below


def run_pack(jobs: Sequence[Job], device: torch.device, tell: Tell | None = None) -> None:
    """Train jobs that may share a pack, each into its run folder and under its lock.

    Each job's `state` and `reason` record how it ended. A run that another process holds is left to
    it. `tell` takes the news; without it each trial shows its own.
    """
    trials: list[Trial] = []
    own, tell = tell is None, tell or untold
    with contextlib.ExitStack() as locks, failures_noted(trials, tell):
        owner: dict[Trial, Job] = {}
        for job in jobs:
            try:
                locks.enter_context(job.folder.lock())
            except RunBusy:
                job.state, job.reason = "busy", "another process is training it"
                continue
            if job.config["resume"] != "force" and job.is_done():
                job.state = "done"  # another process has finished it in the meantime
                continue
            if reason := pruned_before(job):
                job.state, job.reason = "pruned", reason
                continue
            # status "done" without the files that it promises: one of them is damaged
            if job.config["resume"] == "force" or job.folder.state() == "done":
                job.folder.remove_checkpoint()
            trial = begin(job.config, job.folder, own)
            trial.floor = job.floor
            trials.append(trial)
            owner[trial] = job
        tell_ended([job for job in jobs if job.state != "to run"], tell)
        if not trials:
            return
        tell(Began({trial.run_id: so_far(trial) for trial in trials}))
        split = load_split(jobs[0].config)
        train(trials, split, device, partial(end, split=split, device=device, tell=tell), tell)
        for trial, job in owner.items():
            job.state, job.reason = state_of(trial), trial.failure or ""


def so_far(trial: Trial) -> tuple[float, float | None]:
    """Return the part of a trial's epochs that is done, and its best validation value."""
    progress = trial.progress
    best = max(curve(progress.rows, trial.monitor).values(), default=None)
    return part_done(trial, progress.stage, progress.next_epoch), best


def tell_ended(jobs: Sequence[Job], tell: Tell) -> None:
    """Tell how jobs ended."""
    for job in jobs:
        tell(Ended((job.folder.path.name,), job.state, job.reason))


def display(jobs: Sequence[Job]) -> AbstractContextManager[Tell]:
    """Show what jobs are at until the end of the block."""
    return shown({job.folder.path.name: job.config for job in jobs})


def state_of(trial: Trial) -> str:
    """Return in a word how a trial ended."""
    return "done" if trial.failure is None else "pruned" if trial.pruned else "failed"


def pruned_before(job: Job) -> str | None:
    """Return why a job was pruned; None if it was not, or if its floor no longer prunes it."""
    try:
        status = job.folder.read_status()
        if not job.floor or status is None or status["state"] != "pruned":
            return None
        rows = job.folder.read_frame("history").to_dict("records")
    except DamagedRun:
        return None
    below = first_below(rows, job.config["protocol"]["monitor"], job.floor)
    return None if below is None else str(status["reason"])


def give_up(job: Job) -> None:
    """Mark a job whose prerequisite is not done as failed, or as busy."""
    needed = job.prerequisite
    assert needed is not None
    if needed.state == "busy":
        job.state, job.reason = "busy", f"it needs {needed.folder.path}, and {needed.reason}"
        return
    job.state, job.reason = (
        "failed",
        f"it needs {needed.folder.path}, which failed: {needed.reason}",
    )
    with contextlib.suppress(RunBusy, OSError), job.folder.lock():
        write_config(job.config, job.folder)
        job.folder.write_status("failed", job.reason)


def begin(config: Config, folder: RunFolder, own_console: bool) -> Trial:
    """Open a run: its trackers, its files, and its checkpoint if there is one."""
    consoles: list[Sink] = [ConsoleSink(config["trainer"]["epochs"])] if own_console else []
    trial = Trial(config, folder, SafeSinks([*consoles, *make_sinks(config)]))
    if trial.restore():
        say(f"continuing {folder.path} at epoch {trial.progress.next_epoch}")
    write_config(config, folder)
    folder.write_status("running")
    trial.sinks.start(describe(config, folder.path, trial.progress.rows))
    return trial


def write_config(config: Config, folder: RunFolder) -> None:
    """Write the resolved config."""
    folder.write_config(OmegaConf.to_yaml(OmegaConf.create(dict(config))))


def train(
    trials: Sequence[Trial],
    split: Split,
    device: torch.device,
    end: Callable[[Trial], None],
    tell: Tell,
) -> None:
    """Train trials in as few packs as possible: those that start at the same epoch together.

    A pack that fails (out of memory, or an error that a single trial may have caused) goes back to
    the last finished epoch and continues as two halves; a trial that fails alone has failed. A
    trial that was killed after its last epoch, but before its results were written, has them in its
    checkpoint.

    Raises:
        Terminated: when the process was asked to stop; the trials in training have a checkpoint of
        their last finished epoch.
    """
    for trial in trials:
        if trial.progress.stage == "done":
            end(trial)
    trials = [trial for trial in trials if trial.progress.stage != "done"]
    starts = dict.fromkeys((t.progress.stage, t.progress.next_epoch) for t in trials)
    for start in starts:
        pack = [t for t in trials if (t.progress.stage, t.progress.next_epoch) == start]
        trainer = Trainer(pack, split, device, end, Reporter(tell))
        try:
            with deferred():
                trainer.run()
            continue
        except Terminated:
            with deferred():
                trainer.rescue()
            raise
        except Exception as error:
            left = trainer.rescue()
            reason = f"{type(error).__name__}: {error}"
            if len(left) == 1:
                left[0].failure = reason
                end(left[0])
                continue
        del trainer
        gc.collect()
        torch.cuda.empty_cache()
        half = (len(left) + 1) // 2
        say(f"a pack of {len(left)} trials broke ({reason}); continuing with packs of {half}")
        train(left[:half], split, device, end, tell)
        train(left[half:], split, device, end, tell)


@contextlib.contextmanager
def failures_noted(trials: Sequence[Trial], tell: Tell) -> Iterator[None]:
    """Leave no folder with status "running" when training is interrupted."""
    try:
        yield
    except BaseException as error:
        reason, state = f"{type(error).__name__}: {error}", "failed"
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            reason = state = "interrupted"
        left = [trial for trial in trials if not trial.ended]
        for trial in left:
            with contextlib.suppress(OSError):
                trial.folder.write_status("failed", reason)
            trial.sinks.fail(reason)
        tell(Ended(tuple(trial.run_id for trial in left), state, reason))
        raise


def end(trial: Trial, split: Split, device: torch.device, tell: Tell) -> None:
    """Record how a trial ended, as soon as it has."""
    try:
        if trial.failure is None:
            finish(trial, split, device)
    except Exception as error:
        trial.failure = f"{type(error).__name__}: {error}"
    if trial.failure is not None:
        # on a full disk the trial is not done, but the files written before stand
        with contextlib.suppress(OSError):
            if trial.pruned:
                trial.folder.write_history(trial.progress.rows)
                trial.folder.remove_checkpoint()
            trial.folder.write_status(state_of(trial), trial.failure)
        trial.sinks.fail(trial.failure)
    trial.ended = True
    tell(Ended((trial.run_id,), state_of(trial), trial.failure or ""))


def finish(trial: Trial, split: Split, device: torch.device) -> None:
    """Write a trial's results, in an order that a kill cannot spoil: the status comes last."""
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
        # the best monitored value on the validation part; null without one
        "validation": trial.progress.validation,
        "split_id": split_id(config),
        "data_hash": split.data_hash,
        # of the lists of candidate ranking; null under full ranking
        "negatives_hash": split.negatives_hash,
        "git_sha": git_sha(),
        "versions": versions(),
        "epochs_trained": len(progress.rows),
        "train_seconds": progress.seconds,
        "device": device_name(device),
        # why steps were not replayed from a graph, on a GPU; else null
        "uncaptured": progress.uncaptured,
        # whether held-out items were never drawn, which leaks them
        "leak": config["protocol"]["negatives"] == "exclude_held_out",
        **peak_memory(device),
    }
    folder.write_history(progress.rows)
    folder.write_users(trial.users_frame())
    folder.write_ranks(trial.ranks_frame())
    if progress.indicators:
        folder.write_indicators(
            pd.DataFrame({name: x.numpy() for name, x in progress.indicators.items()})
        )
    folder.write_summary(summary)
    folder.write_status("done")
    if not config["trainer"]["keep_checkpoint"]:
        folder.remove_checkpoint()
    trial.sinks.finish(summary)


def make_sinks(config: Config) -> list[Sink]:
    """Create the trackers that `logger` names, each with a limit on how long it is waited for."""
    return [limited(name, section) for name, section in config["logger"].items()]
