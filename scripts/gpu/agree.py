"""Train AHNS on MF for two epochs in four ways that must agree.

The ways are the CPU, plain torch on the GPU, and the fast path on the GPU, uncaptured and captured.

    python scripts/gpu/agree.py [--device cuda]

Prints each way's losses and seconds. Ends with a traceback where a way fails, or is more than 1e-3
from the CPU's losses.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import time

import torch

from hapens_bench.config.compose import compose_config
from hapens_bench.launch.devices import activate, pick_device
from hapens_bench.launch.job import load_split
from hapens_bench.training.stage import Stage

SETTING = ["dataset=tools", "sampler=ahns", "sampler.M=32", "trainer.epochs=2", "tuned=none"]
TOLERANCE = 1e-3  # in a loss: a GPU adds up rows in any order


def losses(
    device: torch.device, engine: str, captured: bool = True, T: int = 3
) -> list[list[float]]:
    """Train a pack and return each trial's loss after each epoch."""
    configs = [
        compose_config([*SETTING, f"trainer.engine={engine}", f"seed={t}"]) for t in range(T)
    ]
    activate(device)
    stage = Stage("held", configs[0], load_split(configs[0]), device)
    loop = stage.loop(stage.pack(configs))
    if loop.uncaptured:
        raise RuntimeError(f"a step is not captured: {loop.uncaptured}")
    if not captured:
        loop.graph = None
    by_epoch = []
    for epoch in range(2):
        begun = time.perf_counter()
        rows = loop.run(epoch)
        by_epoch.append([row["train/loss"] for row in rows])
        print(f"  epoch {epoch}: {by_epoch[-1]} in {time.perf_counter() - begun:.2f} s", flush=True)
    return by_epoch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    device = pick_device(parser.parse_args().device)
    ways = {
        "CPU": (torch.device("cpu"), "auto", False),
        f"plain torch on {device}": (device, "reference", False),
        f"uncaptured on {device}": (device, "auto", False),
        f"captured on {device}": (device, "auto", True),
    }
    expected = None
    for name, way in ways.items():
        print(name, flush=True)
        measured = torch.tensor(losses(*way), dtype=torch.float64)
        expected = measured if expected is None else expected
        worst = float((measured - expected).abs().max())
        print(f"  furthest from the CPU: {worst:.2e}", flush=True)
        if not worst < TOLERANCE:
            raise AssertionError(f"{name}: losses are {worst:.2e} from the CPU's")


if __name__ == "__main__":
    main()
