"""How much memory there is, and what can never fit into it."""

from __future__ import annotations

import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hapens_bench.config import component_class
from hapens_bench.data.interactions import Split
from hapens_bench.errors import UserError

COPIES = 3  # of the model's numbers: themselves, their gradient, and at least one more of the optimiser


def check_memory(config: Mapping[str, Any], split: Split, device: torch.device) -> None:
    """Refuse a trial whose model alone is larger than the free memory.

    Raises:
        UserError: with one sentence.
    """
    section = config["model"]
    numbers = component_class(section).n_numbers(section, split.n_users, split.n_items)
    needed, free = 4 * COPIES * numbers, free_bytes(device)
    if needed > free:
        raise UserError(
            f"model={section['name']} with model.D={section['D']} takes {needed / 2**30:.1f} GiB or more for {split.n_users} users, "
            f"{split.n_items} items, but {free / 2**30:.1f} are free; take a smaller model"
        )


def free_bytes(device: torch.device) -> int:
    """Give the free memory of a device, or of this machine within the limits of its container and of this process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert found
    free = 1024 * int(found[1])
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        free = min(free, most - pages * resource.getpagesize())
    return free
