"""The first second of a command: imports and configs without garbage collection."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage in the block, or until `settled`.

    Imports and configs are a million objects that stay, and every collection looks at most of them
    in vain: it was 0.6 s of the 2.9 s of CPU before the first epoch of `hapens train`.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settled() -> None:
    """Collect garbage from here on, but never look again at what there is by now."""
    gc.freeze()
    gc.enable()
