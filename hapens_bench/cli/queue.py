"""`hapens queue`: work through a file of commands at low priority, and archive finished runs."""

from __future__ import annotations

import argparse
import os
from datetime import datetime
from pathlib import Path

from hapens_bench.analysis.formats import Line as Row
from hapens_bench.analysis.formats import print_table
from hapens_bench.config.paths import shipped_archive
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.termination import listening

COMMANDS = ("train", "tune", "choose", "table", "figure", "report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, help="such as scripts/reproduce/ahns.txt")
    parser.add_argument("--plan", action="store_true", help="only print what is left, with hours")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
    )
    parser.add_argument(
        "--into", type=Path, help="archive for finished runs (default: out/archive/<file's name>)"
    )
    parser.add_argument(
        "--ship", action="store_true", help="archive into the shipped results/archive/<file's name>"
    )
    parser.add_argument(
        "--cores", type=int, help="sweeps side by side (default: all cores of this process)"
    )
    parser.set_defaults(run=run_queue)


def run_queue(arguments: argparse.Namespace) -> int:
    """Work through the queue, or print its plan."""
    from hapens_bench.launch.queue import Queue, read_queue

    cores = arguments.cores or len(os.sched_getaffinity(0))
    if cores < 1:
        raise UserError(f"--cores is {arguments.cores}, but a queue needs at least 1")
    root = shipped_archive() if arguments.ship else Path("out/archive")
    archive = arguments.into or root / arguments.file.stem
    lines = read_queue(arguments.file, COMMANDS)
    queue = Queue(lines, arguments.runs, archive, cores, tell)
    if arguments.plan:
        rows: list[Row] = []
        for line in lines:
            trials = len(queue.trials[line]) if line.trains else 0
            left = f"{queue.left(line)} of {trials}" if line.trains else "–"
            rows.append([str(line.priority), left, f"{queue.minutes(line):.0f}", line.command])
        print_table("", ["priority", "trials left", "core-minutes left", "command"], rows)
        minutes = sum(map(queue.minutes, lines))
        print(f"{minutes / 60:.1f} core-hours left: {minutes / 60 / cores:.1f} hours on {cores}")
        return 0
    with listening():
        queue.work()
    if queue.failed:
        raise TrialFailed(f"{len(queue.failed)} of {len(lines)} lines")
    return 0


def tell(text: str) -> None:
    """Print a line with the time."""
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}", flush=True)
