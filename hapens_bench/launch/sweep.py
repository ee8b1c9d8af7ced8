"""What launchers share: a sweep's jobs in packs and waves. And the launcher for this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console

from hapens_bench.config.compose import once_for_each_choice
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.devices import activate, pick_device
from hapens_bench.launch.job import Job, composed_job, prepare
from hapens_bench.launch.packing import group, run_group, shares
from hapens_bench.launch.results import show_failures, show_results
from hapens_bench.launch.run import display, give_up, run_pack
from hapens_bench.launch.swept import enter, enter_typed, mark
from hapens_bench.launch.workers import run_on_workers
from hapens_bench.models.fitted import is_fitted
from hapens_bench.runs.folder import run_folder
from hapens_bench.startup import settled
from hapens_bench.termination import listening
from hapens_bench.tracking.background import trackers_awaited
from hapens_bench.tracking.console import say
from hapens_bench.tracking.news import Tell
from hapens_bench.tracking.screen import screen

# Carries groups of jobs that may share packs to the processes that train them, and tells the news.
Carry = Callable[[Sequence[Sequence[Job]], Tell], None]
POLL_SECONDS = 1.0  # between checks on a trial that another process trains


def launch(
    job_overrides: Sequence[Sequence[str]],
    compose: Callable[[Sequence[str]], DictConfig],
    carry: Carry,
) -> list[JobReturn]:
    """Run the jobs of a multirun; every job is composed and checked before the first one trains.

    Raises:
        UserError: when any job of the sweep cannot be trained; nothing has been trained then.
    """
    settled()
    jobs, console = checked(job_overrides, compose), screen()
    distinct = list(_first(jobs).values())
    if same := len(jobs) - len(distinct):
        console.print(
            f"{same} of {len(jobs)} jobs are the same trial as another; "
            "each trial is trained and counted once"
        )
    with listening():
        train_jobs(jobs, carry, console)
    show_results(distinct, console)
    show_failures(distinct, console)
    return [_as_return(job) for job in jobs]


def _first(jobs: Sequence[Job]) -> dict[Path, Job]:
    """Return the first job of each trial, by its run folder."""
    first: dict[Path, Job] = {}
    for job in jobs:
        first.setdefault(job.folder.path, job)
    return first


def checked(
    job_overrides: Sequence[Sequence[str]], compose: Callable[[Sequence[str]], DictConfig]
) -> list[Job]:
    """Compose and check all jobs of a sweep, before any of them trains.

    Raises:
        UserError: when any of them cannot be trained.
    """
    composed = once_for_each_choice(compose)
    jobs = [composed_job(overrides, composed) for overrides in job_overrides]
    prepare(jobs)
    mark(jobs)
    return jobs


def show_ended(jobs: Sequence[Job]) -> None:
    """Print the results and failures of jobs that other processes trained, from their folders."""
    for job in jobs:
        job.state, job.reason = "done", ""
        if not job.is_done():
            status = run_folder(job.config).read_status() or {"state": "not run", "reason": ""}
            job.state, job.reason = status["state"], status["reason"] or ""
    console = screen()
    show_results(jobs, console)
    show_failures(jobs, console)


def train_jobs(jobs: Sequence[Job], carry: Carry, console: Console) -> None:
    """Train the jobs that are to run, each run folder once, after their prerequisites.

    Each job's `state` and `reason` record how it ended.
    """
    first = _first(jobs)  # the same trial asked for twice is trained once
    todo = [job for job in first.values() if job.state == "to run"]
    needed = [job.prerequisite for job in todo if job.prerequisite is not None]
    if needed:
        console.print(
            f"{len(todo)} jobs need {len({job.folder.path for job in needed})} other trials first"
        )
        train_jobs(needed, carry, console)
        for job in todo:
            if job.prerequisite is not None and job.prerequisite.state != "done":
                give_up(job)
        todo = [job for job in todo if job.state == "to run"]
    groups = group(todo)
    known = sum(job.archived for job in first.values())
    done = sum(job.state == "done" for job in first.values()) - known
    console.print(
        f"{len(first)} jobs: {f'{known} in the archive, ' if known else ''}{done} done, "
        f"{len(todo)} to run "
        f"in {len(groups)} groups that can share packs"
    )
    if groups:
        with display(todo) as tell, trackers_awaited():
            carry(groups, tell)
    for job in jobs:
        job.state, job.reason = first[job.folder.path].state, first[job.folder.path].reason


def on_devices(devices: Sequence[str] | None = None, max_trials: int | None = None) -> Carry:
    """Train on this machine's devices, in one process for each when there are several.

    By default on all CUDA devices, else on the CPU. `max_trials` bounds a pack beyond what memory
    does.

    Raises:
        UserError: when there is no such device, or `max_trials` is below 1.
    """
    check_max_trials(max_trials)
    for name in devices or ():
        pick_device(name)

    def carry(groups: Sequence[Sequence[Job]], tell: Tell) -> None:
        names = devices_of([job for members in groups for job in members], devices)
        if len(names) > 1:
            return run_on_workers(shares(groups, len(names)), names, max_trials, tell)
        for members in groups:
            run_group(members, pick_device(names[0]), max_trials, tell)

    return carry


def check_max_trials(max_trials: int | None) -> None:
    """Refuse a bound below 1.

    Raises:
        UserError: with one sentence.
    """
    if max_trials is not None and max_trials < 1:
        raise UserError(
            f"hydra.launcher.max_trials is {max_trials}, but a pack has at least 1 trial"
        )


def run_single(
    config: dict[str, Any], overrides: list[str], sweep: Mapping[str, Any] | None = None
) -> float | None:
    """Run one trial and print its result; return what an optimiser may see (`Job.objective`).

    A job of a `sweep` (see `sweep_of`) leaves printing to it.

    Raises:
        UserError: when it cannot be trained. TrialFailed: when it was trained, and failed.
    """
    settled()
    job = Job(config, overrides)
    prepare([job])
    if sweep is None:
        enter_typed(job)
    else:
        enter(job, sweep)
    device = pick_device(config["trainer"]["device"])
    activate(device, config["trainer"]["threads"])
    with listening(), trackers_awaited():
        train_single(job, device)
    if job.state != "done":
        raise TrialFailed(f"{job.folder.path} {job.state}: {job.reason}")
    if sweep is None:
        show_results([job], screen())
    return job.objective()


def train_single(job: Job, device: torch.device) -> None:
    """Train one job if it is not done, after its prerequisite.

    Where another process trains the prerequisite, wait for it.
    """
    if job.state == "done":
        return
    needed = job.prerequisite
    if needed is not None:
        say(f"{job.folder.path} needs {needed.folder.path} first")
        train_single(needed, device)
        while needed.state == "busy":
            time.sleep(POLL_SECONDS)
            train_single(needed, device)
        if needed.state != "done":
            return give_up(job)
    run_pack([job], device)


def devices_of(jobs: Sequence[Job], wanted: Sequence[str] | None) -> list[str]:
    """Return the devices to train on: `wanted`, the trainer's, all CUDA devices, or the CPU.

    Models that are fitted have no say where others are trained: they are on the CPU anyway.
    """
    trained = [job for job in jobs if not is_fitted(job.config)] or jobs
    named = {job.config["trainer"]["device"] for job in trained} - {"auto"}
    if wanted:
        return list(wanted)
    if len(named) == 1:
        return list(named)
    return [f"cuda:{k}" for k in range(torch.cuda.device_count())] or ["cpu"]


def _as_return(job: Job) -> JobReturn:
    result = JobReturn(overrides=job.overrides)
    if job.state == "done":
        result.status, result.return_value = JobStatus.COMPLETED, job.objective()
    else:
        result.status, result.return_value = (
            JobStatus.FAILED,
            TrialFailed(f"{job.command}: {job.reason}"),
        )
    return result
