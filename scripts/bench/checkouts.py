"""Time training steps of two checkouts in turn, for a change whose gain is smaller than the noise.

    git worktree add ../before <commit>
    HAPENS_MIRROR=<folder of data files> python scripts/bench/checkouts.py ../before .
        [--threads 1] [--steps 10] [--rounds 9] dataset=tmall protocol=sdns model=lightgcn ...

Each checkout has a process of its own, with the split and the setting of the overrides. Prints the
least and the median milliseconds of a step, by the clock and of processor time (which other load
disturbs less; it counts threads that wait), and the ratio of the second checkout to the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def serve(args: argparse.Namespace) -> None:
    """Take steps whenever a line comes in; answer with the seconds of one."""
    import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

    sys.path.insert(0, str(args.folders[0] / "scripts" / "bench"))
    from workload import Ours

    from hapens_bench.config.compose import compose_config
    from hapens_bench.kernels.cpu import set_threads
    from hapens_bench.launch.job import load_split

    set_threads(args.threads)
    chosen = [x for x in args.overrides if x.partition("=")[0] in ("dataset", "protocol")]
    ours = Ours(load_split(compose_config(chosen)), args.overrides)
    ours.steps(3)
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.process_time()
        seconds = ours.steps(args.steps)
        print(seconds, (time.process_time() - begun) / args.steps, flush=True)


def start(folder: Path, args: argparse.Namespace) -> subprocess.Popen[str]:
    """Start a checkout's process, and wait until it is ready."""
    options = ["--serve", "--threads", str(args.threads), "--steps", str(args.steps)]
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), *args.overrides, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    while (line := answer(process)) != "ready":
        print(line)
    return process


def answer(process: subprocess.Popen[str]) -> str:
    """Return the next line of a process."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a checkout's process ended; its error is above")
    return line.strip()


def ask(process: subprocess.Popen[str]) -> list[float]:
    """Let a process take its steps; return seconds by the clock and of processor time."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return [float(x) for x in answer(process).split()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", help="checkouts, and overrides of the setting")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    args.overrides = [word for word in args.folders if "=" in word]
    args.folders = [Path(word).resolve() for word in args.folders if "=" not in word]
    if args.serve:
        serve(args)
        return
    processes = [start(folder, args) for folder in args.folders]
    taken = np.array([[ask(process) for process in processes] for _ in range(args.rounds)])
    for process in processes:
        process.communicate()
    found = np.stack([taken.min(0), np.median(taken, 0)])  # [least and median, checkout, clock]
    for folder, (least, median) in zip(args.folders, found.transpose(1, 0, 2), strict=True):
        clock, processor = (f"{1e3 * least[k]:.1f}, {1e3 * median[k]:.1f}" for k in (0, 1))
        print(f"{folder}: clock {clock} ms, processor {processor} ms (least, median)")
    for folder, ratio in zip(args.folders[1:], (found / found[:, :1]).transpose(1, 0, 2)[1:]):
        print(
            f"{folder}: ratio by the clock {ratio[0, 0]:.2f}, {ratio[1, 0]:.2f}, "
            f"processor {ratio[0, 1]:.2f}, {ratio[1, 1]:.2f}"
        )


if __name__ == "__main__":
    main()
