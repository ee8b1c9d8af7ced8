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
from hapens_bench.launch.run import display, tell_ended
from hapens_bench.runs.lock import RunBusy
from hapens_bench.termination import Terminated, listening
from hapens_bench.tracking.background import trackers_awaited
from hapens_bench.tracking.news import News, Tell


def run_on_workers(
    shares: Sequence[Sequence[Job]], devices: Sequence[str], max_trials: int | None, tell: Tell
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
                place, jobs = busy[ready]
                if heard(ready, workers[place][0], jobs, tell):
                    del busy[ready]
                    idle.append(place)
    except Terminated:
        for process, _ in workers.values():
            process.terminate()  # each worker then writes its checkpoints
        for _, connection in workers.values():
            with contextlib.suppress(EOFError, OSError):
                while True:
                    if isinstance(said := connection.recv(), News):
                        tell(said)
        raise
    finally:
        for process, connection in workers.values():
            connection.close()  # the worker sees the end of its input and exits
            process.join()


def heard(connection: Any, process: Any, jobs: Sequence[Job], tell: Tell) -> bool:
    """Pass on a worker's news, or note how its share ended; return whether the share is over.

    If the worker died, the folders say how it ended.
    """
    try:
        said = connection.recv()
    except (EOFError, OSError):
        process.join()
        note_death(jobs, f"its worker died (exit code {process.exitcode})", tell)
        return True
    if isinstance(said, News):
        tell(said)
        return False
    note(jobs, said, tell)
    return True


def note(jobs: Sequence[Job], outcomes: Sequence[tuple[str, str]], tell: Tell) -> None:
    """Record the states and reasons that a process returned for its jobs."""
    for job, (state, reason) in zip(jobs, outcomes, strict=True):
        job.state, job.reason = state, reason
    tell_ended(jobs, tell)


def note_death(jobs: Sequence[Job], reason: str, tell: Tell) -> None:
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
    tell_ended(jobs, tell)


def serve(connection: Connection, name: str, max_trials: int | None, threads: int | None) -> None:
    """Serve as the worker of a device: train each share that comes, and answer how it ended."""

    def tell(news: News) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            connection.send(news)

    with listening(), trackers_awaited():
        while True:
            try:
                jobs = connection.recv()
            except EOFError:
                return
            run_group(jobs, pick_device(name), max_trials, tell, threads)
            connection.send(outcomes(jobs))


def train_share(
    jobs: Sequence[Job], max_trials: int | None, threads: int | None = None
) -> list[tuple[str, str]]:
    """Train jobs that may share packs on the device that the trainer names, and show how it goes.

    Launchers carry this call to other machines. Return each job's state and reason.
    """
    with display(jobs) as tell, trackers_awaited():
        run_group(jobs, pick_device(jobs[0].config["trainer"]["device"]), max_trials, tell, threads)
    return outcomes(jobs)


def outcomes(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Return each job's state and reason."""
    return [(job.state, job.reason) for job in jobs]
