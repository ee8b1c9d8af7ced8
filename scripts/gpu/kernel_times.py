"""Profile captured steps: AHNS on MF, SDNS and RNS on LightGCN.

Prints kernels by time, and bytes a second.

python scripts/gpu/kernel_times.py --out profile.txt [--device cuda] [--steps 50]
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import sys
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from machine import ceilings
from workload import Ours

from hapens_bench.config.compose import compose_config
from hapens_bench.launch.devices import activate, pick_device
from hapens_bench.launch.job import load_split

CASES = {
    "AHNS, M = 32, MF, T = 32, Tools": (["dataset=tools", "sampler=ahns", "sampler.M=32"], 32),
    "SDNS, M = 16, LightGCN, T = 4, Tmall": (
        ["dataset=tmall", "protocol=sdns", "model=lightgcn", "sampler=sdns"],
        4,
    ),
    "RNS, LightGCN, T = 1, Gowalla": (["dataset=gowalla", "model=lightgcn", "sampler=rns"], 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    activate(pick_device(args.device))
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if args.device == "cuda" else [])]
    order = "self_cuda_time_total" if args.device == "cuda" else "self_cpu_time_total"
    with args.out.open("w", encoding="utf-8") as out:

        def report(text: str) -> None:
            print(text, flush=True)
            print(text, file=out, flush=True)

        streaming = ceilings(args.device)["streaming GB/s"]
        for name, (overrides, T) in CASES.items():
            split = load_split(compose_config(overrides))
            ours = Ours(split, overrides, T=T if args.device == "cuda" else 1, device=args.device)
            ours.steps(3)
            seconds = ours.steps(args.steps)
            # Adam: read p, m, v, g; write p, m, v, g
            moved = 8 * sum(p.nbytes for p in ours.pack.parameters().values())
            share = moved / seconds / 1e9 / streaming
            report(
                f"{name}: {1e3 * seconds:.3f} ms a step; Adam's bytes alone are {share:.2f} "
                f"of streaming, {streaming:.0f} GB/s"
            )
            with profile(activities=kinds) as profiled:
                ours.steps(args.steps)
            report(
                profiled.key_averages().table(sort_by=order, row_limit=9, max_name_column_width=80)
            )


if __name__ == "__main__":
    main()
