"""Several devices: a worker process for each, taking shares of the work until none is left."""

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
    """Train shares of jobs on devices; replace a worker that dies: only its current runs fail.

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
            process.terminate()  # each worker then writes its checkpoints
        raise
    finally:
        for process, connection in workers.values():
            connection.close()  # the worker sees the end of its input and exits
            process.join()


def take_back(connection: Any, process: Any, jobs: Sequence[Job]) -> None:
    """Note how a share ended: from its worker's answer or, if the worker died, from the folders."""
    try:
        note(jobs, connection.recv())
    except EOFError:
        process.join()
        note_death(jobs, f"its worker died (exit code {process.exitcode})")


def note(jobs: Sequence[Job], outcomes: Sequence[tuple[str, str]]) -> None:
    """Record the states and reasons that a process returned for its jobs."""
    for job, (state, reason) in zip(jobs, outcomes, strict=True):
        job.state, job.reason = state, reason


def note_death(jobs: Sequence[Job], reason: str) -> None:
    """Record how jobs ended whose process died, from their folders.

    Only the runs that it was training are marked as failed. A folder that another process holds by
    now is left alone.
    """
    for job in jobs:
        if job.is_done():
            job.state = "done"
            continue
        job.state, job.reason = "failed", reason
        with contextlib.suppress(RunBusy, OSError), job.folder.lock():
            job.folder.write_status("failed", reason)


def serve(connection: Connection, name: str, max_trials: int | None, threads: int | None) -> None:
    """Serve as the worker of a device: train each share that comes, and answer how it ended."""
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
    """Train jobs that may share packs in this process; return each job's state and reason.

    Launchers carry this call to other processes. `device` None is the one that the trainer names.
    """
    run_group(jobs, pick_device(device or jobs[0].config["trainer"]["device"]), max_trials, threads)
    return [(job.state, job.reason) for job in jobs]
