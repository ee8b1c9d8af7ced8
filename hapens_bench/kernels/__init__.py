"""Fast versions of the engine's inner loops, and which one a device takes.

Each stands beside a plain torch version, which is its fallback and its oracle: `trainer.engine=reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

import torch


class Engine(Enum):
    """Who computes the inner loops: plain torch, numba on CPU cores, or compiled torch in a captured CUDA graph."""

    PLAIN = "reference"
    NUMBA = "numba"
    CUDA = "cuda"


def pick_engine(name: str, device: torch.device) -> Engine:
    """Turn `trainer.engine`, auto or reference, into the engine of a device."""
    if name == "reference":
        return Engine.PLAIN
    return Engine.CUDA if device.type == "cuda" else Engine.NUMBA


RECOMPILE_LIMIT = (
    128  # variants of a function; torch runs it uncompiled for the rest of the process beyond that
)


@lru_cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a torch function for all shapes, so that its intermediate results are never written to memory.

    Torch still compiles one variant for each depth of a binary search, for T = 1 and M = 1 against more, for rows
    with and without a bitmap, and for each size that was marked as static. Its own limit, 8, is too low for a sweep.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    return torch.compile(function, dynamic=True)
