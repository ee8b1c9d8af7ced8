"""Measure the engine against plain ways of doing the same, side by side in one run.

    HAPENS_MIRROR=<folder of data files> python scripts/bench/bench.py
        [--datasets ml-1m phones] [--only epochs pool ...]

Prints ratios and writes `bench.csv`, row by row as they are measured, `bench.svg` and
`bench.provenance.json` into --out. RecBole and implicit are measured where .venv-recbole and
.venv-implicit exist (`make rivals`), and otherwise left out with the reason.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
from pathlib import Path

import against
import within
from figure import draw
from machine import Record, ceilings, describe
from rows import Row

from hapens_bench.launch.devices import activate, pick_device

SECTIONS = {
    "epochs": against.epochs,
    "pool": against.pool,
    "evaluation": against.evaluation,
    "packed_evaluation": against.packed_evaluation,
    "step": within.split_of_a_step,
    "samplers": within.samplers,
    "packs": within.packs,
    "trials": within.trials,
    "growth": within.growth,
    "memory": within.memory,
    "precision": within.precision,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="*", default=["ml-1m", "phones"])
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pack-datasets", nargs="*", default=["planted", "tools"])
    parser.add_argument("--pack-sizes", nargs="*", type=int, default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    activate(pick_device(args.device))
    machine = {**describe(args.device), **ceilings(args.device)}
    stem = "bench" if args.device == "cpu" else "bench_cuda"
    record = Record(args.out / stem, machine, rounds=args.rounds)
    print(machine)
    for name in args.only:
        print(f"\n{name}: {SECTIONS[name].__doc__}")
        for measured in SECTIONS[name](args):
            tell(record, measured)
    for measured in within.shares(list(record.rows), machine, args.datasets):
        tell(record, measured)
    draw(record.frame, machine, args.out / f"{stem}.svg")
    print(f"written: {args.out}/{stem}.csv, .svg, .provenance.json")


def tell(record: Record, measured: Row) -> None:
    """Print a row and record it."""
    value = f"{measured['value']:.3g}" if "value" in measured else measured["note"]
    ratio = f"{measured['ratio']:.2f}" if measured.get("ratio") else ""
    print(f"  {measured['case']:20} {measured['way']:36} {value:>10} {ratio:>8}", flush=True)
    record.add(measured)


if __name__ == "__main__":
    main()
