"""Kill a trial with SIGKILL at random moments, resume it, and compare with the same trial left in peace.

    python scripts/kill_and_resume.py --kills 10 dataset=tools sampler=ahns trainer.epochs=20

Prints what was done and exits with 1 when any metric of the two runs differs in any bit.
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


def command(runs: Path, overrides: list[str]) -> list[str]:
    fixed = [f"paths.runs={runs}", "trainer.checkpoint_seconds=0", "trainer.device=cpu"]
    return [sys.executable, "-m", "hapens_bench", *overrides, *fixed]


def summary(runs: Path) -> dict:
    (path,) = runs.glob("*/*/*/*/summary.json")
    return json.loads(path.read_text())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options, overrides = parser.parse_known_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        calm, rough = Path(place) / "calm", Path(place) / "rough"
        begun = time.monotonic()
        subprocess.run(command(calm, overrides), check=True, capture_output=True)
        whole = time.monotonic() - begun
        start_up = 4.0 if whole > 8 else whole / 2  # a process needs this long before it trains
        kills = 0
        while kills < options.kills:
            process = subprocess.Popen(
                command(rough, overrides),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(timeout=chance.uniform(0, start_up + (whole - start_up) / 3))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                continue
            break  # it got to its end before the next kill
        subprocess.run(command(rough, overrides), check=True, capture_output=True)
        first, second = summary(calm), summary(rough)
    same = first["selection"] == second["selection"] and first["epochs_trained"] == second["epochs_trained"]
    print(f"uninterrupted: {whole:.1f} s; killed {kills} times; metrics {'equal bit for bit' if same else 'DIFFER'}")
    if not same:
        print(json.dumps([first["selection"], second["selection"]], indent=1))
    return 0 if same and kills else 1


if __name__ == "__main__":
    sys.exit(main())
