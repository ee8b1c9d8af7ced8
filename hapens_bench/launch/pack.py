"""What launchers share: all jobs of a sweep at once, grouped into packs, in waves. And the one for this machine's devices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console

from hapens_bench.config import COMPONENTS, component_class, once_for_each_choice
from hapens_bench.errors import UserError
from hapens_bench.launch.devices import activate, pick_device
from hapens_bench.launch.job import Config, Job, load_split, prepare
from hapens_bench.launch.results import show_failures, show_results
from hapens_bench.launch.run import give_up, run_pack
from hapens_bench.launch.size import largest_pack
from hapens_bench.launch.workers import run_on_workers
from hapens_bench.termination import listening
from hapens_bench.training.trial import TrialFailed

Carry = Callable[[Sequence[Sequence[Job]]], None]  # takes groups that may share packs to processes that train them
POLL_SECONDS = 1.0  # between looks at a trial that another process trains


def launch(
    job_overrides: Sequence[Sequence[str]], compose: Callable[[Sequence[str]], DictConfig], carry: Carry
) -> list[JobReturn]:
    """Run the jobs of a multirun; every job is composed and checked before the first one trains.

    Raises:
        UserError: when any job of the sweep cannot be trained; nothing has been trained then.
    """
    composed = once_for_each_choice(compose)
    jobs = [Job(composed(overrides), list(overrides)) for overrides in job_overrides]
    prepare(jobs)
    console = Console()
    if not console.is_terminal:
        console.width = 110  # of a log file
    with listening():
        train_jobs(jobs, carry, console)
    show_results(jobs, console)
    show_failures(jobs, console)
    return [_as_return(job) for job in jobs]


def train_jobs(jobs: Sequence[Job], carry: Carry, console: Console) -> None:
    """Train what is to run, each run folder once, after the trials that it needs; `state` and `reason` say what became of each job."""
    first = {job.folder.path: job for job in reversed(jobs)}  # the same trial asked for twice is trained once
    todo = [job for job in jobs if job.state == "to run" and first[job.folder.path] is job]
    needed = [job.prerequisite for job in todo if job.prerequisite is not None]
    if needed:
        console.print(f"{len(todo)} jobs need {len({job.folder.path for job in needed})} other trials first")
        train_jobs(needed, carry, console)
        for job in todo:
            if job.prerequisite is not None and job.prerequisite.state != "done":
                give_up(job)
        todo = [job for job in todo if job.state == "to run"]
    groups = group(todo)
    done = sum(job.state == "done" for job in jobs)
    console.print(f"{len(jobs)} jobs: {done} done, {len(todo)} to run in {len(groups)} groups that can share packs")
    if groups:
        carry(groups)
    for job in jobs:
        job.state, job.reason = first[job.folder.path].state, first[job.folder.path].reason


def on_devices(devices: Sequence[str] | None = None, max_trials: int | None = None) -> Carry:
    """Train on devices of this machine, one process each when there are several; by default all CUDA devices, else the CPU.

    `max_trials` bounds a pack beyond what memory does.

    Raises:
        UserError: when there is no such device, or `max_trials` is below 1.
    """
    check_max_trials(max_trials)
    for name in devices or ():
        pick_device(name)

    def carry(groups: Sequence[Sequence[Job]]) -> None:
        names = devices_of([job for members in groups for job in members], devices)
        if len(names) > 1:
            return run_on_workers(shares(groups, len(names)), names, max_trials)
        for members in groups:
            run_group(members, pick_device(names[0]), max_trials)

    return carry


def check_max_trials(max_trials: int | None) -> None:
    """Refuse a bound that no pack can keep."""
    if max_trials is not None and max_trials < 1:
        raise UserError(f"hydra.launcher.max_trials is {max_trials}, but a pack has at least 1 trial")


def run_single(config: dict[str, Any], overrides: list[str]) -> float | None:
    """Run one trial and print its result; gives what an optimiser may look at (`Job.objective`).

    Raises:
        UserError: when it cannot be trained. TrialFailed: when it was, and failed.
    """
    job = Job(config, overrides)
    prepare([job])
    device = pick_device(config["trainer"]["device"])
    activate(device, config["trainer"]["threads"])
    with listening():
        train_single(job, device)
    if job.state != "done":
        raise TrialFailed(f"{job.folder.path} {job.state}: {job.reason}")
    show_results([job], Console())
    return job.objective()


def train_single(job: Job, device: torch.device) -> None:
    """Train one job where it is not done, after the trial that it needs; where another process trains that one, wait for it."""
    if job.state == "done":
        return
    needed = job.prerequisite
    if needed is not None:
        Console(stderr=True).print(f"first {needed.folder.path}", highlight=False, soft_wrap=True)
        train_single(needed, device)
        while needed.state == "busy":
            time.sleep(POLL_SECONDS)
            train_single(needed, device)
        if needed.state != "done":
            return give_up(job)
    run_pack([job], device, single=True)


def pack_key(config: Config) -> str:
    """Name what trials of a pack have in common: all but the seed, keys of the host, and numbers that are tensors [T, 1, 1]."""
    common: dict[str, Any] = {name: config[name] for name in ("dataset", "protocol", "paths")}
    common["trainer"] = {name: value for name, value in config["trainer"].items() if name not in ("lr", "l2")}
    for section in COMPONENTS:
        keys = component_class(config[section]).keys
        shared = {name: config[section][name] for name, key in keys.items() if key.shared}
        common[section] = {"_target_": config[section]["_target_"], **shared}
    return json.dumps(common, sort_keys=True, default=str)


def group(jobs: Sequence[Job]) -> list[list[Job]]:
    """Put jobs that may share a pack together, in the order they were asked for."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(pack_key(job.config), []).append(job)
    return list(groups.values())


def cost(jobs: Sequence[Job]) -> float:
    """Estimate what jobs of a group cost, in any unit: trials x epochs x train pairs x candidates, and what else a step does."""
    config = jobs[0].config
    M = config["sampler"].get(component_class(config["sampler"]).pool_key, 1)
    return len(jobs) * config["trainer"]["epochs"] * len(load_split(config).train) * float(M + 8)


def shares(groups: Sequence[Sequence[Job]], n: int, most: int | None = None) -> list[Sequence[Job]]:
    """Cut groups so that n devices have about equal work: no share costs more than an n-th of everything, longest first.

    No share has more than `most` jobs.
    """
    total = sum(cost(members) for members in groups)
    parts: list[Sequence[Job]] = []
    for members in groups:
        pieces = min(len(members), max(1, -(-int(cost(members) * n) // max(1, int(total)))))
        size = min(-(-len(members) // pieces), most or len(members))
        parts += [members[at : at + size] for at in range(0, len(members), size)]
    return sorted(parts, key=cost, reverse=True)


def run_group(jobs: Sequence[Job], device: torch.device, max_trials: int | None, threads: int | None = None) -> None:
    """Train jobs that may share packs, in packs as large as the device's memory lets them be."""
    activate(device, jobs[0].config["trainer"]["threads"] or threads)
    size = len(jobs) if max_trials is None else min(max_trials, len(jobs))
    if size > 1:
        size = min(size, largest_pack(jobs[0].config, size, device))
    for at in range(0, len(jobs), size):
        try:
            run_pack(jobs[at : at + size], device)
        except Exception as error:  # nothing of one pack may cost another
            for job in jobs[at : at + size]:
                if job.state == "to run":
                    job.state, job.reason = "failed", f"{type(error).__name__}: {error}"


def devices_of(jobs: Sequence[Job], wanted: Sequence[str] | None) -> list[str]:
    """Give the devices to train on: those asked for, the one that the trainer names, all CUDA devices, or the CPU."""
    named = {job.config["trainer"]["device"] for job in jobs} - {"auto"}
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
        result.status, result.return_value = JobStatus.FAILED, TrialFailed(f"{job.command}: {job.reason}")
    return result
