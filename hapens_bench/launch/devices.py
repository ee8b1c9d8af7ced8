"""The device that a process trains on."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path

import torch

from hapens_bench.errors import UserError
from hapens_bench.kernels.cpu import set_threads


def pick_device(name: str) -> torch.device:
    """Convert `auto`, `cpu`, `cuda` or `cuda:N` into a device; a CUDA device always has its number.

    Raises:
        UserError: when this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(
            f"trainer.device is {name!r}, but it takes auto, cpu, cuda or cuda:N"
        ) from None
    count = torch.cuda.device_count()
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and (device.index or 0) >= count
    ):
        raise UserError(
            f"trainer.device is {name!r}, but this machine has the CPU and {count} CUDA devices"
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def activate(device: torch.device, threads: int | None = None) -> None:
    """Make this process train on a device, with `threads` CPU threads (None: all that it may use).

    A CUDA device becomes the current one: graphs are captured and streams created there, wherever
    the tensors are. The numba loops are compiled only where the CPU runs them.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    else:
        set_threads(threads)


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Return the peak memory in MiB of this process, pack-mates included, and of its GPU.

    The GPU's is what torch has reserved, captured graphs included; None on a CPU.
    """
    used = torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_device_memory_mb": used,
    }
