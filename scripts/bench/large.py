"""Train one epoch of MF and DNS on generated data of any size; print seconds and peak memory.

    python scripts/bench/large.py                  2M users x 1M items x 50M interactions
    python scripts/bench/large.py --shrink 20      a twentieth of the users and of the items
    python scripts/bench/large.py trainer.threads=1 sampler.M=8

Further arguments are overrides of the trial. 1,000 users are evaluated against all items; all
interactions of the others are trained on.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIXED = [
    "dataset=large",
    "model=mf",
    "sampler=dns",
    "sampler.M=16",
    "tuned=none",
    "trainer.epochs=1",
]
FIXED += ["trainer.batch_size=65536", "trainer.device=cpu", "protocol.selection=[test_peak]"]
FIXED += ["+protocol.judged.users=1000", "+protocol.judged.seed=0"]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shrink", type=int, default=1)
    options, overrides = parser.parse_known_args()
    size = [
        f"dataset.users={2_000_000 // options.shrink}",
        f"dataset.items={1_000_000 // options.shrink}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "hapens_bench",
            *FIXED,
            *size,
            *overrides,
            f"paths.runs={folder}",
        ]
        print(" ".join(command[1:-1]), flush=True)
        begun = time.monotonic()
        done = subprocess.run(command)
        seconds = time.monotonic() - begun
        if done.returncode:
            return done.returncode
        (path,) = Path(folder).glob("*/*/*/*/summary.json")
        summary = json.loads(path.read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    trained = summary["train_seconds"]
    print(
        f"{seconds:.0f} s in all: {trained:.0f} s the epoch and its ranking, "
        f"{seconds - trained:.0f} s data and set-up"
    )
    print(
        f"peak memory of the process {peak:.1f} GiB; "
        f"Recall@20 {summary['selection']['test_peak']['test']['Recall@20']:.4f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
