"""Compose the configs of an experiment's jobs, by Hydra one by one and by us, who put values into what was composed once.

    python scripts/bench/compose.py [tune_ahns] [--dataset tools]

Prints seconds and their ratio, checks that both give the same configs, and writes `compose.csv` and `compose.provenance.json` into
--out.
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
    jobs = [one.job.overrides for one in planned(args.experiment, Path("runs"), [args.dataset])]
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        found = []
        for name, compose in {
            "Hydra": compose_config,
            "ours": once_for_each_choice(unresolved),
        }.items():
            begun = time.perf_counter()
            found.append([compose(overrides) for overrides in jobs])
            taken.setdefault(name, []).append(time.perf_counter() - begun)
        assert found[0] == found[1]
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
