"""Trackers on threads: training does not wait for a log, and a hanging tracker is given up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from queue import SimpleQueue
from typing import Any

from hapens_bench.tracking.sink import RunInfo, Sink

LIMIT = 10.0  # seconds that one call may take, and that the start and the end of a run wait


class Worker:
    """Does calls in order on its own thread, which cannot delay the exit of the process.

    Once a call has exceeded the limit, the worker is given up: nothing waits for it again, but it
    still does its remaining calls.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.begun: float | None = None  # when the current call began
        self.given_up = False
        threading.Thread(target=self._work, daemon=True).start()

    def check(self) -> None:
        """Check the current call.

        Raises:
            TimeoutError: when it exceeds the limit, or an earlier call has.
        """
        begun = self.begun
        if begun is not None and time.monotonic() - begun > self.limit:
            self.given_up = True
        if self.given_up:
            raise TimeoutError(f"no answer within {self.limit:g} s")

    def wait(self) -> None:
        """Wait until all calls so far are done.

        Raises:
            TimeoutError: when that exceeds the limit, or an earlier call has.
        """
        self.check()
        done = threading.Event()
        self.calls.put(done.set)
        self.given_up = not done.wait(self.limit)
        self.check()

    def _work(self) -> None:
        while True:
            call = self.calls.get()
            self.begun = time.monotonic()
            call()
            self.begun = None


@cache
def worker_of(label: str) -> Worker:
    """Return the worker of a tracker.

    All trials of a process share it, so that a hanging tracker is waited for only once.
    """
    return Worker(LIMIT)


class LimitedSink:
    """Makes a sink and calls it on a worker's thread; `label` is its name in warnings.

    `start`, `finish` and `fail` wait for the thread, `log` does not. An error on the thread is
    raised by the call that waits for it or, after a log, by a later call.
    """

    def __init__(self, label: str, make: Callable[[], Sink], worker: Worker) -> None:
        self.label, self.make, self.worker = label, make, worker
        self.sink: Any = None
        self.error: Exception | None = None
        self.ended = False

    def start(self, run: RunInfo) -> None:
        """See `Sink.start`."""
        self.worker.check()
        self._put(partial(self._begin, run))
        self._wait()

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """See `Sink.log`."""
        self.worker.check()
        self._raise()
        self._put(partial(self.sink.log, stage, epoch, row))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """See `Sink.finish`; a late sink is called all the same."""
        self.ended = True
        self._put(partial(self.sink.finish, summary))
        self._wait()

    def fail(self, reason: str) -> None:
        """See `Sink.fail`; a broken sink is not waited for, an ended one is not called."""
        if self.ended:
            return
        self.ended = True
        if self.error is not None or self.worker.given_up:
            self.worker.calls.put(partial(self._close, reason))
        else:
            self._put(partial(self.sink.fail, reason))
            self._wait()

    def _begin(self, run: RunInfo) -> None:
        self.sink = self.make()
        self.sink.start(run)

    def _put(self, call: Callable[[], None]) -> None:
        self.worker.calls.put(partial(self._do, call))

    def _wait(self) -> None:
        self.worker.wait()
        self._raise()

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def _do(self, call: Callable[[], None]) -> None:
        """Do a call on the thread, unless an earlier one has failed."""
        if self.error is None:
            try:
                call()
            except Exception as error:
                self.error = error

    def _close(self, reason: str) -> None:
        """Close a broken sink on the thread."""
        with contextlib.suppress(Exception):
            self.sink.fail(reason)
