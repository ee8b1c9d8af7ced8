"""Fast versions of the engine's inner loops, and which of them a device uses.

Each has a plain torch version as its fallback and its oracle: `trainer.engine=reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

import torch


class Engine(Enum):
    """What computes the inner loops.

    Plain torch, numba on CPU cores, or compiled torch in a captured CUDA graph.
    """

    PLAIN = "reference"
    NUMBA = "numba"
    CUDA = "cuda"


def pick_engine(name: str, device: torch.device) -> Engine:
    """Return the engine that `trainer.engine` (auto or reference) means on a device."""
    if name == "reference":
        return Engine.PLAIN
    return Engine.CUDA if device.type == "cuda" else Engine.NUMBA


# Variants of a function; beyond them torch runs it uncompiled for the rest of the process.
RECOMPILE_LIMIT = 128


@lru_cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a torch function for all shapes, so that no intermediate result goes to memory.

    Torch still compiles a variant for each depth of a binary search, for T = 1 and M = 1, for rows
    with and without a bitmap, and for each size marked as static. Its own limit, 8, is too low for
    a sweep.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    return torch.compile(function, dynamic=True)
