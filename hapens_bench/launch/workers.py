"""Several devices: one worker process each, taking shares of the work until none is left."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from hapens_bench.launch.devices import pick_device
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import run_group
from hapens_bench.runs.lock import RunBusy
from hapens_bench.termination import Terminated, listening


def run_on_workers(
    shares: Sequence[Sequence[Job]], devices: Sequence[str], max_trials: int | None
) -> None:
    """Train shares of jobs on devices; a worker that dies costs no more than the runs that it was
    at, and is replaced.

    Those runs are marked as failed; typed again, the sweep continues them from their checkpoints.
    """
    context = multiprocessing.get_context("spawn")
    cpus = [name for name in devices if name == "cpu"]
    threads = max(1, len(os.sched_getaffinity(0)) // len(cpus)) if cpus else None
    left = deque(shares)
    idle = list(range(len(devices)))
    workers: dict[int, tuple[Any, Connection]] = {}
    busy: dict[Any, tuple[int, Sequence[Job]]] = {}
    try:
        while left or busy:
            while left and idle:
                place = idle.pop(0)
                if place not in workers or not workers[place][0].is_alive():
                    mine, theirs = context.Pipe()
                    process = context.Process(
                        target=serve, args=(theirs, devices[place], max_trials, threads)
                    )
                    process.start()
                    theirs.close()
                    workers[place] = process, mine
                connection = workers[place][1]
                busy[connection] = place, left.popleft()
                connection.send(list(busy[connection][1]))
            for ready in wait(list(busy)):
                place, jobs = busy.pop(ready)
                take_back(ready, workers[place][0], jobs)
                idle.append(place)
    except Terminated:
        for process, _ in workers.values():
            process.terminate()  # each writes its checkpoints
        raise
    finally:
        for process, connection in workers.values():
            connection.close()  # the worker sees the end of its input and leaves
            process.join()


def take_back(connection: Any, process: Any, jobs: Sequence[Job]) -> None:
    """Note how a share ended: from its worker's answer or, if the worker died, from the folders."""
    try:
        note(jobs, connection.recv())
    except EOFError:
        process.join()
        note_death(jobs, f"its worker died (exit code {process.exitcode})")


def note(jobs: Sequence[Job], found: Sequence[tuple[str, str]]) -> None:
    """Note what a process said about the jobs that it was given."""
    for job, (state, reason) in zip(jobs, found, strict=True):
        job.state, job.reason = state, reason


def note_death(jobs: Sequence[Job], reason: str) -> None:
    """Note what became of jobs whose process said nothing: what their folders say.

    Only those that it was at are marked; a folder that another process holds by now is left alone.
    """
    for job in jobs:
        if job.is_done():
            job.state = "done"
            continue
        job.state, job.reason = "failed", reason
        with contextlib.suppress(RunBusy, OSError), job.folder.lock():
            job.folder.write_status("failed", reason)


def serve(connection: Connection, name: str, max_trials: int | None, threads: int | None) -> None:
    """Be the worker of a device: train what comes, say what became of it."""
    with listening():
        while True:
            try:
                jobs = connection.recv()
            except EOFError:
                return
            connection.send(train_share(jobs, name, max_trials, threads))


def train_share(
    jobs: Sequence[Job], device: str | None, max_trials: int | None, threads: int | None = None
) -> list[tuple[str, str]]:
    """Train jobs that may share packs in this process, and say what became of each: what a launcher
    carries elsewhere.

    `device` None is the one that the trainer names.
    """
    run_group(jobs, pick_device(device or jobs[0].config["trainer"]["device"]), max_trials, threads)
    return [(job.state, job.reason) for job in jobs]
