"""How many trials fit into a device's memory, by measuring."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from hapens_bench.data.interactions import Split
from hapens_bench.launch.job import Config, load_split
from hapens_bench.launch.memory import free_bytes
from hapens_bench.training.stage import Stage, ranking

LOG = logging.getLogger(__name__)
SHARE = 0.85  # share of the free memory that packs may fill


def largest_pack(config: Config, wanted: int, device: torch.device) -> int:
    """Return how many of `wanted` trials fit into free memory, measured by dry steps.

    What a step of two trials takes beyond a step of one is taken for the memory of each further
    trial. On a CPU, a pack has no more trials than a step finds in its cache: beyond that, every
    trial's tables are streamed from memory, and a pack was measured to cost up to a fifth more than
    its trials one by one. Where the dry step fails, each trial is trained alone, and the launcher
    reports how it ends.
    """
    give_back_freed(device)
    free = free_bytes(device)
    try:
        split = load_split(config)
        if device.type == "cpu":
            wanted = min(wanted, cache_bytes() // step_bytes(config, split, device))
            if wanted <= 1:
                return 1
        dry_step([config], split, device)  # so that memory needed only once is not counted
        of_one, of_two = (
            peak_bytes(partial(dry_step, [config] * T, split, device), device) for T in (1, 2)
        )
    except Exception as error:  # each trial is then trained alone, and fails with its own reason
        LOG.warning(
            "trials are trained one by one: a first step of them failed (%s: %s)",
            type(error).__name__,
            error,
        )
        return 1
    each = max(of_two - of_one, 1)
    return max(1, min(wanted, 1 + int((SHARE * free - of_one) // each)))


def dry_step(configs: Sequence[Config], split: Split, device: torch.device) -> None:
    """Take one step and rank for one trial, as an epoch and its evaluation do; keep nothing."""
    stage = Stage("full", configs[0], split, device)
    pack = stage.pack(configs)
    loop = stage.loop(pack)
    before = pack.snapshot()
    loop.n_steps = 1
    loop.run(0)
    pack.restore(before)
    encoded = pack.model.encode().detach()
    ranking(configs[0], split, device).evaluate(encoded.queries[:1], encoded.items[:1])


def step_bytes(config: Config, split: Split, device: torch.device) -> int:
    """Return the bytes that a step of one trial touches: what it changes, gradients, intermediates.

    The epoch's order of the train pairs, several times as large on ML-1M, does not count: a step
    reads one batch of it.
    """
    stage = Stage("full", config, split, device)
    pack = stage.pack([config])
    loop = stage.loop(pack)
    step = partial(loop.step, slice(0, loop.B))
    step()  # makes the gradients
    gradients = sum(p.nbytes for p in pack.parameters().values())
    return sum(x.nbytes for x in pack.snapshot()) + gradients + peak_bytes(step, device)


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Return how much more memory the device (or this process) holds at the peak of some work.

    On a GPU it is what torch has reserved: what a captured graph keeps for its replays counts,
    though it is not allocated.
    """
    give_back_freed(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_reserved(device)
        work()
        return torch.cuda.max_memory_reserved(device) - before
    before = _status("VmRSS")
    # reset the high-water mark to the present use
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return _status("VmHWM") - before


def give_back_freed(device: torch.device) -> None:
    """Return freed memory to the system; else it would be reused, and not be measured."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def cache_bytes() -> int:
    """Return the size of the CPU's last-level cache; 32 MiB where the system does not report it."""
    sizes = [
        path.read_text().strip()
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    return max(
        (
            int(size[:-1]) * 1024 ** "KMG".index(size[-1]) * 1024
            for size in sizes
            if size[-1] in "KMG"
        ),
        default=2**25,
    )


def _status(name: str) -> int:
    size = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert size
    return 1024 * int(size[1])
