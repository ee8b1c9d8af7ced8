"""Several devices: one worker process each, taking shares of the work until none is left."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from hapens_bench.launch.job import Job, pick_device


def run_on_workers(shares: Sequence[Sequence[Job]], devices: Sequence[str], max_trials: int | None) -> None:
    """Train shares of jobs on devices; a worker that dies costs no more than the runs that it was at, and is replaced.

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
                    process = context.Process(target=serve, args=(theirs, devices[place], max_trials, threads))
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
    finally:
        for process, connection in workers.values():
            connection.close()  # the worker sees the end of its input and leaves
            process.join()


def take_back(connection: Any, process: Any, jobs: Sequence[Job]) -> None:
    """Note what became of a share: what its worker says, or, where it died, what its folders say."""
    try:
        for job, (state, reason) in zip(jobs, connection.recv(), strict=True):
            job.state, job.reason = state, reason
    except EOFError:
        process.join()
        for job in jobs:
            if job.is_done():
                job.state = "done"
            else:
                job.state, job.reason = "failed", f"its worker died (exit code {process.exitcode})"
                job.folder.write_status("failed", job.reason)


def serve(connection: Connection, name: str, max_trials: int | None, threads: int | None) -> None:
    """Be the worker of a device: train what comes, say what became of it."""
    from hapens_bench.launch.pack import run_group

    while True:
        try:
            jobs = connection.recv()
        except EOFError:
            return
        run_group(jobs, pick_device(name), max_trials, threads)
        connection.send([(job.state, job.reason) for job in jobs])
