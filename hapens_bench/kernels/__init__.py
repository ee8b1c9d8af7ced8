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


@lru_cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a torch function once for all shapes, so that what it computes on the way is never written to memory."""
    return torch.compile(function, dynamic=True)
