"""Measure what the methods of GDNS Table 3 cost: time of an epoch and peak memory of a run.

    HAPENS_MIRROR=<folder of data files> python scripts/bench/gdns.py
        [--time ml-1m] [--packs ml-1m] [--memory pinterest] [--threads 1]

GMF, D = 32, one trial; times are relative to uniform negatives. Epochs are timed in turn, round by
round, and the median is kept. An epoch of `enmf` and `gdns` is a pass over the users, of the others
a pass over the interactions; for packs of `rns` it is the epoch divided by T. Memory is that of the
whole process of two epochs with a ranking and a checkpoint. Prints both, and writes `gdns.csv`, row
by row as they are measured, and `gdns.provenance.json` into --out.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import Record, describe
from workload import Ours, interleaved

from hapens_bench.config.compose import compose_config
from hapens_bench.kernels.cpu import set_threads
from hapens_bench.launch.job import load_split

TRAINER = {"rns": "srns", "srns": "srns", "enmf": "enmf", "gdns": "gdns"}
COMMON = ["protocol=gdns", "model=gmf"]


def times(dataset: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Time an epoch of each method, after three warm-up epochs that choose and compile kernels."""
    common = [f"dataset={dataset}", *COMMON]
    split = load_split(compose_config(common))
    every = {
        name: Ours(split, [*common, f"sampler={name}", f"trainer={TRAINER[name]}"])
        for name in TRAINER
    }
    for workload in every.values():
        for _ in range(3):
            workload.epoch()
    taken = interleaved({name: workload.epoch for name, workload in every.items()}, rounds)
    for name, seconds in taken.items():
        yield {
            "dataset": dataset,
            "what": "epoch, s",
            "sampler": name,
            "value": seconds,
            "ratio": seconds / taken["rns"],
        }


def packs(dataset: str, sizes: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """Time an epoch of uniform negatives for each trial of a pack of T."""
    overrides = [f"dataset={dataset}", *COMMON, "sampler=rns", f"trainer={TRAINER['rns']}"]
    split = load_split(compose_config(overrides))
    every = {T: Ours(split, overrides, T) for T in sizes}
    for workload in every.values():
        workload.epoch()
    ways = {str(T): lambda o=workload, T=T: o.epoch() / T for T, workload in every.items()}
    taken = interleaved(ways, rounds)
    for T, seconds in taken.items():
        what = f"epoch a trial, pack of {T}, s"
        ratio = seconds / taken[str(sizes[0])]
        yield {"dataset": dataset, "what": what, "sampler": "rns", "value": seconds, "ratio": ratio}


def memory(dataset: str) -> Iterator[dict[str, Any]]:
    """Run each method in its own process and read its peak memory."""
    for name in TRAINER:
        with tempfile.TemporaryDirectory() as folder:
            short = [
                "trainer.epochs=2",
                "trainer.eval_every=1",
                "trainer.checkpoint_seconds=0",
                "trainer.device=cpu",
            ]
            overrides = [
                f"dataset={dataset}",
                f"sampler={name}",
                "seed=0",
                "protocol.selection=[valid]",
                f"paths.runs={folder}",
            ]
            command = [sys.executable, "-m", "hapens_bench", "experiment=gdns_table3"]
            command += [*overrides, *short]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (path,) = Path(folder).glob("*/*/*/*/summary.json")
            peak = json.loads(path.read_text())["peak_memory_mb"] / 1024
        yield {
            "dataset": dataset,
            "what": "peak memory, GiB",
            "sampler": name,
            "value": peak,
            "ratio": None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--time", nargs="*", default=["ml-1m"], help="data sets whose epochs are timed"
    )
    parser.add_argument(
        "--packs", nargs="*", default=["ml-1m"], help="data sets on which packs are timed"
    )
    parser.add_argument("--pack-sizes", nargs="+", type=int, default=[1, 2, 4, 5, 8])
    parser.add_argument(
        "--memory", nargs="*", default=["pinterest"], help="data sets on which memory is measured"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    machine = describe("cpu")
    set_threads(args.threads)
    record = Record(args.out / "gdns", machine, threads=args.threads, rounds=args.rounds)
    parts = [
        *(times(name, args.rounds) for name in args.time),
        *(packs(name, args.pack_sizes, args.rounds) for name in args.packs),
        *(memory(name) for name in args.memory),
    ]
    print("dataset, what, sampler, value, times rns")
    for row in itertools.chain.from_iterable(parts):
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(
            f"{row['dataset']:10} {row['what']:28} {row['sampler']:8} "
            f"{row['value']:8.3g} {ratio:>8}",
            flush=True,
        )
        record.add(row)


if __name__ == "__main__":
    main()
