"""Kill a trial with SIGKILL at random moments, resume it, and compare with an undisturbed one.

    python scripts/kill_and_resume.py --kills 10 dataset=tools sampler=ahns trainer.epochs=20

Prints what was done and exits with 1 if any metric of the two runs differs in any bit.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start(runs: Path, overrides: list[str]) -> subprocess.Popen:
    fixed = [f"paths.runs={runs}", "trainer.checkpoint_seconds=0", "trainer.device=cpu"]
    command = [sys.executable, "-m", "hapens_bench", *overrides, *fixed]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


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
        undisturbed = start(calm, overrides)
        while undisturbed.poll() is None and not list(calm.glob("*/*/*/*/status.json")):
            time.sleep(0.05)
        start_up = time.monotonic() - begun
        if undisturbed.wait() != 0:
            print("the undisturbed run failed; type it without this script to see why")
            return 1
        whole = time.monotonic() - begun
        kills = 0
        while kills < options.kills:
            process = start(rough, overrides)
            # On average all kills together leave half of the training to the last start.
            try:
                process.wait(
                    timeout=chance.uniform(0, start_up + (whole - start_up) / options.kills)
                )
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            else:  # it finished before the kill: start over
                if process.returncode != 0:
                    return 1
                shutil.rmtree(rough)
        if start(rough, overrides).wait() != 0:
            return 1
        first, second = summary(calm), summary(rough)
    same = (
        first["selection"] == second["selection"]
        and first["epochs_trained"] == second["epochs_trained"]
    )
    print(
        f"uninterrupted: {whole:.1f} s; killed {kills} times; "
        f"metrics {'equal bit for bit' if same else 'DIFFER'}"
    )
    if not same:
        print(json.dumps([first["selection"], second["selection"]], indent=1))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
