"""Measure what a step of the softmax family costs for each scored pair, against the plain path.

    HAPENS_MIRROR=<folder of data files> python scripts/bench/softmax.py
        [--dataset gowalla] [--K 1000] [--threads 1 2]

MF with cosines and the loss `sl`, D = 64, one trial. All figures are nanoseconds a pair: `wall` is
the clock's, `cpu` the processor's, summed over threads, which other load on the machine disturbs
less. `gather bound` reads the row of each pair's item once, from a table of the size of the data
set's. `shared` is one pool of K negatives for the batch. Memory is the growth of the process's peak
in a first step of B = 2048, K = 2000. Prints, and writes `softmax.csv`, row by row, and
`softmax.provenance.json` into --out.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import Record, describe
from workload import Ours, real

from hapens_bench.data.interactions import Split
from hapens_bench.kernels import cpu
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import draw_pool

Row = dict[str, Any]


def setting(K: int, B: int, *more: str) -> list[str]:
    common = ["sampler=sl", f"sampler.K={K}", f"trainer.batch_size={B}", "trainer.l2=0"]
    return [*common, "model.similarity=cosine", *more]


def measured(ways: dict[str, Callable[[], object]], n: int, rounds: int) -> dict[str, Any]:
    """Return the median wall and processor nanoseconds a pair of each way, timed in turn."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(rounds):
        for name, work in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            seconds = time.perf_counter() - wall, time.process_time() - processor
            taken[name].append((seconds[0] / n * 1e9, seconds[1] / n * 1e9))
    return {
        name: tuple(statistics.median(x) for x in zip(*times, strict=True))
        for name, times in taken.items()
    }


def parts(ours: Ours, K: int) -> dict[str, Callable[[], object]]:
    """Return the parts of a step of the suite, as functions to time alone on a fixed batch."""
    pack, loop = ours.pack, ours.loop
    index = torch.randint(0, loop.train.shape[1], (1, loop.B))
    zero = torch.zeros((), dtype=torch.int64)
    batch = Batch(*loop.train[:, index], zero, zero, 10)

    def draw() -> torch.Tensor:
        return draw_pool(ours.positives, batch.users, K, pack.pool_streams, 0)

    pool = draw()

    def scores(backward: bool) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = pack.model.encode()
        ego = pack.model.ego(encoded)
        positive, negative, squares = encoded.pairs(batch.users, batch.items, pool, ego)
        if backward:
            (positive.sum() + negative.sum() + 0 * squares.sum()).backward()
        return positive.detach(), negative.detach()

    positive, negative = (x.requires_grad_() for x in scores(backward=False))
    encoded = pack.model.encode().detach()
    return {
        "pool": draw,
        "scores": lambda: scores(backward=False),
        "scores and gradients": lambda: scores(backward=True),
        "loss and its gradient": lambda: pack.loss(positive, negative).sum().backward(),
        "hardness": lambda: loop.meter.add(batch.users, positive.detach(), negative.detach(), pool),
        "gather bound": lambda: cpu.score(encoded.users, encoded.items, batch.users, pool),
    }


def steps(split: Split, args: argparse.Namespace, threads: int) -> Iterator[Row]:
    K, B = args.K, args.B
    ours = Ours(split, setting(K, B))
    plain = Ours(split, setting(K, B), engine="reference")
    shared = Ours(split, setting(K, B, "sampler.shared=true"))
    ways: dict[str, Callable[[], object]] = {
        "whole step": lambda: ours.steps(1),
        "whole step, plain torch": lambda: plain.steps(1),
        "whole step, shared": lambda: shared.steps(1),
        **parts(ours, K),
    }
    taken = measured(ways, B * K, args.rounds)
    for name, (wall, processor) in taken.items():
        yield {
            "case": f"{args.dataset}, K = {K}, B = {B}",
            "threads": threads,
            "way": name,
            "wall": wall,
            "cpu": processor,
            "ratio": processor / taken["whole step"][1],
        }


def memory(split: Split, args: argparse.Namespace) -> Iterator[Row]:
    """Measure the growth of the peak in the first steps; this must come first in a process."""
    ours = Ours(split, setting(2000, 2048))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours.steps(1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    case = f"{args.dataset}, K = 2000, B = 2048"
    yield {"case": case, "threads": 2, "way": "memory of a step, MiB", "wall": grown}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="gowalla")
    parser.add_argument("--K", type=int, default=1000)
    parser.add_argument("--B", type=int, default=1024)
    parser.add_argument("--threads", nargs="*", type=int, default=[2, 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    record = Record(args.out / "softmax", describe("cpu"), rounds=args.rounds)
    split = real(args.dataset)
    cpu.set_threads(args.threads[0])
    for row in memory(split, args):
        tell(record, row)
    for threads in args.threads:
        cpu.set_threads(threads)
        for row in steps(split, args, threads):
            tell(record, row)


def tell(record: Record, row: Row) -> None:
    rest = f"{row['cpu']:9.1f} {row['ratio']:7.2f}" if "cpu" in row else ""
    print(f"{row['case']} {row['threads']} {row['way']:26} {row['wall']:9.1f} {rest}", flush=True)
    record.add(row)


if __name__ == "__main__":
    main()
