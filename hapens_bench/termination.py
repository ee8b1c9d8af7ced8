"""SIGTERM: a scheduler wants the machine back.

Training stops at the end of a step, writes its checkpoints and exits with 75.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: try again later

_asked: set[int] = set()
_deferred = 0


class Terminated(SystemExit):
    """A signal asked this process to end; if nothing catches it, the process exits with 75.

    `signals` are the signals received.
    """

    def __init__(self) -> None:
        super().__init__(REQUEUE)
        self.signals = frozenset(_asked)


@contextlib.contextmanager
def listening(*signals: int) -> Iterator[None]:
    """Turn SIGTERM and other signals into `Terminated` in the block, on the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _take) for number in (signal.SIGTERM, *signals)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer a request until `check` or the end of the block, so that nothing is left half done."""
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
    check()


def check() -> None:
    """Raise if termination was requested.

    Raises:
        Terminated: if it was requested.
    """
    if _asked:
        raise Terminated


def _take(number: int, frame: FrameType | None) -> None:
    first = not _asked
    _asked.add(number)
    if first and not _deferred:  # a second request must not interrupt the handling of the first
        raise Terminated
