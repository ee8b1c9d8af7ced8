"""Compose the configs of an experiment's jobs: one by one with Hydra, and with our cache.

    python scripts/bench/compose.py [tune_ahns] [--dataset tools]

The cache puts values into what was composed once. Prints seconds and their ratio, checks that both
ways give the same configs, and writes `compose.csv` and `compose.provenance.json` into --out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
from machine import describe, write

from hapens_bench.config.compose import compose_config, once_for_each_choice, unresolved
from hapens_bench.launch.experiments import planned

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", default="tune_ahns")
    parser.add_argument("--dataset", default="tools")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    machine = describe("cpu")
    trials = planned(args.experiment, Path("runs"), [args.dataset])
    jobs = [trial.job.overrides for trial in trials]
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        configs = []
        for name, compose in {
            "Hydra": compose_config,
            "ours": once_for_each_choice(unresolved),
        }.items():
            begun = time.perf_counter()
            configs.append([compose(overrides) for overrides in jobs])
            taken.setdefault(name, []).append(time.perf_counter() - begun)
        assert configs[0] == configs[1]
    least = {name: min(seconds) for name, seconds in taken.items()}
    case = f"{args.experiment}, {args.dataset}: {len(jobs)} jobs"
    rows = [
        {"case": case, "way": name, "seconds": s, "ratio": s / least["ours"]}
        for name, s in least.items()
    ]
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False))
    write(frame, args.out / "compose", machine, rounds=ROUNDS)


if __name__ == "__main__":
    main()
