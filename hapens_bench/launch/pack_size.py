"""How many trials a device's memory holds, by trying."""

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
SHARE = 0.85  # of the free memory that packs may fill


def largest_pack(config: Config, wanted: int, device: torch.device) -> int:
    """Give how many of `wanted` trials fit into free memory: what a dry step of two takes beyond
    that of one, times T.

    On a CPU no more than a step finds in its cache: beyond it every trial's tables are streamed
    from memory, and a pack was measured to cost up to a fifth more than its trials one by one.
    Where the dry step fails each trial is tried alone, and the launcher reports what becomes of it.
    """
    give_back_freed(device)
    free = free_bytes(device)
    try:
        split = load_split(config)
        if device.type == "cpu":
            wanted = min(wanted, cache_bytes() // step_bytes(config, split, device))
            if wanted <= 1:
                return 1
        dry_step([config], split, device)  # what is only needed once is not counted
        one, two = (
            peak_bytes(partial(dry_step, [config] * T, split, device), device) for T in (1, 2)
        )
    except Exception as error:  # of one trial; each is tried alone, and fails with its own reason
        LOG.warning(
            "trials are trained one by one: a first step of them failed (%s: %s)",
            type(error).__name__,
            error,
        )
        return 1
    each = max(two - one, 1)
    return max(1, min(wanted, 1 + int((SHARE * free - one) // each)))


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
    """Give what a step of one trial goes through: what it changes, gradients, and what it computes
    on the way.

    The epoch's order of the train pairs, several times as large on ML-1M, is not part of it: a step
    reads a batch of that.
    """
    stage = Stage("full", config, split, device)
    pack = stage.pack([config])
    loop = stage.loop(pack)
    step = partial(loop.step, slice(0, loop.B))
    step()  # makes the gradients
    gradients = sum(p.nbytes for p in pack.parameters().values())
    return sum(x.nbytes for x in pack.snapshot()) + gradients + peak_bytes(step, device)


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Measure how much more memory the device (or this process) holds at the height of some work
    than before it.

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
    # sets the high-water mark back to the present use
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return _status("VmHWM") - before


def give_back_freed(device: torch.device) -> None:
    """Return freed memory to the system: else it would be used again and not be seen."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def cache_bytes() -> int:
    """Give the size of the CPU's last-level cache; 32 MiB where the system does not say."""
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
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])
