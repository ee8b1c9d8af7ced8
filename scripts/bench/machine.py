"""The machine: its description, and the ceilings that speeds are compared with."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hapens_bench.launch.devices import device_name
from hapens_bench.runs.provenance import git_sha, versions


def describe(device: str) -> dict[str, Any]:
    """Describe the machine, the software and the state of the code."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cpu": device_name(torch.device("cpu")),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0],
        "git_sha": git_sha(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
    }


class Record:
    """<path>.csv, which holds every row as soon as it is measured, and <path>.provenance.json.

    An interrupted run leaves the rows it had; each file is replaced as a whole.
    """

    def __init__(self, path: Path, machine: dict[str, Any], **more: Any) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = {"command": " ".join(["python", *sys.argv]), "machine": machine, **more}
        self._replace("provenance.json", json.dumps(provenance, indent=1) + "\n")
        self._replace("csv", "")

    def add(self, row: dict[str, Any]) -> None:
        """Record a row and rewrite the file."""
        self.rows.append(row)
        self._replace("csv", self.frame.to_csv(index=False))

    @property
    def frame(self) -> pd.DataFrame:
        """The rows so far."""
        return pd.DataFrame(self.rows)

    def _replace(self, end: str, text: str) -> None:
        temporary = Path(f"{self.path}.{end}.tmp")
        temporary.write_text(text)
        temporary.replace(f"{self.path}.{end}")


def write(frame: pd.DataFrame, path: Path, machine: dict[str, Any], **more: Any) -> None:
    """Write the rows of a frame as `Record` does."""
    record = Record(path, machine, **more)
    for row in frame.to_dict("records"):
        record.add(row)


def best(work: Any, sync: Any, rounds: int = 9) -> float:
    """Return the least seconds of several calls."""
    taken = []
    for _ in range(rounds):
        sync()
        begun = time.perf_counter()
        work()
        sync()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def ceilings(device: str) -> dict[str, float]:
    """Measure streaming and float32 matrix products, both square and of the shape of ranking.

    Streaming reads one array and writes another.
    """
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    big = 2**28 if device == "cuda" else 2**25
    a, b = torch.ones(big, device=device), torch.zeros(big, device=device)
    n = 8192 if device == "cuda" else 2048
    x, y, out = (
        torch.randn(n, n, device=device),
        torch.randn(n, n, device=device),
        torch.empty(n, n, device=device),
    )
    q, v = torch.randn(256, 64, device=device), torch.randn(64, 10429, device=device)
    s = torch.empty(256, 10429, device=device)
    return {
        "streaming GB/s": 8 * big / best(lambda: b.copy_(a), sync) / 1e9,
        "GEMM GFLOP/s": 2 * n**3 / best(lambda: torch.mm(x, y, out=out), sync) / 1e9,
        "GEMM 256x64 @ 64x10429 GFLOP/s": 2
        * 256
        * 64
        * 10429
        / best(lambda: torch.mm(q, v, out=s), sync)
        / 1e9,
    }
