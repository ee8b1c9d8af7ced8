"""Run the same 12 trials through every launcher; print wall times and whether metrics are equal.

    python scripts/bench/launchers.py [--launchers basic pack ...] [--out results/bench] [overrides]

Writes launchers.csv and launchers.provenance.json, and exits with 1 if any metric differs in any
bit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from machine import describe, write

WAYS = {
    "pack": [],
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "slurm": ["hydra.launcher.cluster=local", "hydra.launcher.packs=2"],
    "ray": ["hydra.launcher.num_cpus=1"],
}
SWEEP = [
    "sampler=rns,dns",
    "trainer.lr=0.001,0.01",
    "seed=range(3)",
    "tuned=none",
    "trainer.threads=1",
]


def run(name: str, overrides: list[str], folder: Path) -> tuple[float, dict[str, str]]:
    """Return the seconds of a sweep, and the metrics of each run id."""
    runs = folder / name
    command = [
        sys.executable,
        "-m",
        "hapens_bench",
        "-m",
        f"hydra/launcher={name}",
        *WAYS[name],
        *SWEEP,
        *overrides,
    ]
    begun = time.monotonic()
    subprocess.run(
        [*command, f"paths.runs={runs}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - begun
    reports = {
        path.parent.name: json.loads(path.read_text())["selection"]
        for path in runs.glob("*/*/*/*/summary.json")
    }
    return seconds, {
        run_id: json.dumps(selection, sort_keys=True) for run_id, selection in reports.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--launchers", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    options, overrides = parser.parse_known_args()
    machine = describe("cpu")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = {name: run(name, overrides, Path(folder)) for name in options.launchers}
    seconds, metrics = next(iter(outcomes.values()))
    rows = pd.DataFrame(
        {
            "launcher": name,
            "trials": len(reported),
            "equal_metrics": reported == metrics,
            "seconds": taken,
            "ratio": taken / seconds,
        }
        for name, (taken, reported) in outcomes.items()
    )
    print(rows.round(2).to_string(index=False))
    write(rows, options.out / "launchers", machine)
    return int(not rows["equal_metrics"].all())


if __name__ == "__main__":
    raise SystemExit(main())
