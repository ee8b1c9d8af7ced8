"""Free memory, and the trials that can never fit into it."""

from __future__ import annotations

import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hapens_bench.config.components import component_class
from hapens_bench.data.interactions import Split
from hapens_bench.errors import UserError
from hapens_bench.models.fitted import is_fitted

# Copies of the model's numbers: the parameters, their gradient, and at least one in the optimiser.
COPIES = 3
# Copies of what a sampler remembers: the current one, and that of the last finished epoch.
REMEMBERED = 2


def check_memory(config: Mapping[str, Any], split: Split, device: torch.device) -> None:
    """Refuse a trial whose model and sampler are larger than the free memory.

    Raises:
        UserError: with one sentence.
    """
    model, sampler, size = config["model"], config["sampler"], (split.n_users, split.n_items)
    if is_fitted(config):
        return _check_fit(model, *size, free_bytes(torch.device("cpu")))
    tables = 4 * COPIES * component_class(model).n_numbers(model, *size)
    rule = component_class(sampler)
    remembered = rule.n_bytes(sampler, int(model["D"]), *size)
    remembered += rule.pair_bytes(sampler) * len(split.train)
    remembered *= REMEMBERED
    free = free_bytes(device)
    if tables + remembered > free:
        other = (
            f" and {remembered / 2**30:.1f} GiB for sampler={sampler['name']}" if remembered else ""
        )
        raise UserError(
            f"model={model['name']} with model.D={model['D']} takes {tables / 2**30:.1f} GiB "
            f"or more{other} for {size[0]} users, {size[1]} items, "
            f"but {free / 2**30:.1f} are free; take a smaller model"
            + (" or another sampler" if remembered else "")
        )


def _check_fit(model: Mapping[str, Any], n_users: int, n_items: int, free: int) -> None:
    """Refuse a model whose fit needs more than the free memory."""
    needed = component_class(model).n_bytes(model, n_users, n_items)
    if needed > free:
        raise UserError(
            f"model={model['name']} takes {needed / 2**30:.1f} GiB or more for {n_users} users, "
            f"{n_items} items, but {free / 2**30:.1f} are free; take another model, or a machine "
            "with more memory"
        )


def free_bytes(device: torch.device) -> int:
    """Return a device's free memory; a CPU's is bounded by container and process limits."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert available
    free = 1024 * int(available[1])
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        free = min(free, most - pages * resource.getpagesize())
    return free
