"""Measure what interruptions cost a sweep of 64 trials.

    python scripts/bench/interrupted.py
        [--interruptions 10] [--seed 0] [--out results/bench] [overrides]

The sweep runs once undisturbed, and once killed at random instants and typed again. Every
interruption is SIGKILL to the launcher and all its workers. Prints the seconds of both sweeps and
what was lost, writes interrupted.csv and interrupted.provenance.json, and exits with 1 if any
metric differs in any bit.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from machine import describe, write

SWEEP = [
    "sampler=rns,dns",
    "trainer.lr=0.0005,0.001,0.005,0.01",
    "seed=range(8)",
    "tuned=none",
    "protocol=ahns",
]
LENGTH = ["trainer.epochs=200", "trainer.patience=null"]


def start(runs: Path, overrides: list[str]) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "hapens_bench",
        "-m",
        *SWEEP,
        *LENGTH,
        *overrides,
        f"paths.runs={runs}",
    ]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def finish(runs: Path, overrides: list[str], gaps: list[float]) -> int:
    """Repeat the sweep, killing it after each gap but the last; return the number of kills."""
    for n, gap in enumerate(gaps):
        process = start(runs, overrides)
        try:
            process.wait(timeout=gap)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            continue
        return n
    if start(runs, overrides).wait() != 0:
        raise SystemExit("the sweep failed; type it without this script to see why")
    return len(gaps)


def measured(runs: Path, overrides: list[str], gaps: list[float]) -> dict[str, float]:
    begun = time.monotonic()
    interruptions = finish(runs, overrides, gaps)
    return {
        "interruptions": interruptions,
        "trials": len(results(runs)),
        "seconds": time.monotonic() - begun,
    }


def results(runs: Path) -> dict[str, str]:
    return {
        path.parent.name: json.dumps(json.loads(path.read_text())["selection"], sort_keys=True)
        for path in sorted(runs.glob("*/*/*/*/summary.json"))
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--interruptions", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    options, overrides = parser.parse_known_args()
    chance, machine = random.Random(options.seed), describe("cpu")
    with tempfile.TemporaryDirectory() as place:
        calm, rough = Path(place) / "calm", Path(place) / "rough"
        whole = measured(calm, overrides, [])
        instants = sorted(chance.uniform(0, whole["seconds"]) for _ in range(options.interruptions))
        gaps = [later - earlier for earlier, later in zip([0.0, *instants], instants, strict=False)]
        broken = measured(rough, overrides, gaps)
        lost = sum(results(rough).get(run) != metrics for run, metrics in results(calm).items())
    rows = pd.DataFrame([{"sweep": "in peace", **whole}, {"sweep": "killed", **broken}])
    rows["ratio"] = rows["seconds"] / whole["seconds"]
    print(rows.round(3).to_string(index=False))
    print(f"results lost or different: {lost}")
    write(rows, options.out / "interrupted", machine, results_lost=lost)
    return int(lost > 0)


if __name__ == "__main__":
    raise SystemExit(main())
