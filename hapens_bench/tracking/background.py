"""Trackers on threads: training waits for none of their calls, and a hanging one is given up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from hapens_bench.config.keys import Key
from hapens_bench.tracking.console import say
from hapens_bench.tracking.push import push_command
from hapens_bench.tracking.sink import RunInfo, Sink, explain, make, warn_once

LIMIT = 60.0  # seconds, for a tracker whose section has no `limit`
LIMIT_KEY = Key(float, above=0)
HURRY = 5.0  # seconds at most, at the end of a process that was interrupted
POLL_SECONDS = 0.05


class Worker:
    """Does the calls of a tracker in order on its own thread, which cannot delay a process's exit.

    All trials of a process share it, so that a hanging tracker is waited for only once. `unsent`
    has the finished runs that the tracker has not got yet.
    """

    def __init__(self, label: str, limit: float) -> None:
        self.label, self.limit = label, limit
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.unsent: list[LimitedSink] = []
        self.answered = float("-inf")  # when a call has last succeeded
        self.given_up: float | None = None  # when it was waited for in vain
        Thread(target=self._work, daemon=True).start()

    def wait(self, limit: float) -> bool:
        """Wait until all calls so far are done; return whether they are.

        It is given up when no call has succeeded for `limit` seconds, and then not waited for
        again until one has.
        """
        done = Event()
        self.calls.put(done.set)
        begun = time.monotonic() if self.given_up is None else self.given_up
        while not done.wait(POLL_SECONDS):
            if time.monotonic() - max(begun, self.answered) > limit:
                self.given_up = begun
                return False
        self.given_up = None
        return True

    def close(self, limit: float) -> None:
        """Wait for all calls so far; then say which finished runs are missing, and what to type."""
        self.wait(limit)
        missing, self.unsent = self.unsent, []
        if not missing:
            return
        errors = [sink.error for sink in missing if sink.error is not None]
        why = explain(errors[0]) if errors else f"no answer within {limit:g} s"
        runs = "1 finished run is" if len(missing) == 1 else f"{len(missing)} finished runs are"
        command = push_command(
            self.label, missing[0].section, [sink.run for sink in missing if sink.run is not None]
        )
        say(f"{runs} not in {self.label} ({why}){command and f'; to send: {command}'}")

    def _work(self) -> None:
        while True:
            self.calls.get()()


class LimitedSink:
    """Makes the sink of a section and calls it on a worker's thread, which nothing here waits for.

    What is told while it starts is kept until it has. A sink that raises is told to `fail` and
    nothing more.
    """

    def __init__(self, section: Mapping[str, Any], worker: Worker) -> None:
        self.section, self.worker = section, worker
        self.sink: Sink | None = None
        self.run: RunInfo | None = None
        self.error: Exception | None = None
        self.ended = False

    def start(self, run: RunInfo) -> None:
        """See `Sink.start`."""
        self.run = run
        self._put(self._begin, run)

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """See `Sink.log`."""
        self._put(lambda: self._made.log(stage, epoch, row))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """See `Sink.finish`."""
        self.ended = True
        self.worker.unsent.append(self)
        self._put(self._end, summary)

    def fail(self, reason: str) -> None:
        """See `Sink.fail`; an ended sink is not called."""
        if not self.ended:
            self.ended = True
            self._put(lambda: self._made.fail(reason))

    @property
    def _made(self) -> Sink:
        assert self.sink is not None, "its calls come after its start"
        return self.sink

    def _begin(self, run: RunInfo) -> None:
        self.sink = make(self.section)
        self.sink.start(run)

    def _end(self, summary: Mapping[str, Any]) -> None:
        self._made.finish(summary)
        with contextlib.suppress(ValueError):  # it was too late, and has been reported
            self.worker.unsent.remove(self)

    def _put(self, call: Callable[..., None], *given: Any) -> None:
        self.worker.calls.put(partial(self._do, call, *given))

    def _do(self, call: Callable[..., None], *given: Any) -> None:
        """Do a call on the thread, unless an earlier one has failed."""
        if self.error is not None:
            return
        try:
            call(*given)
            self.worker.answered = time.monotonic()
        except Exception as error:
            self.error = error
            if self.worker.given_up is None:  # else that has been said
                warn_once(f"{self.worker.label} failed for a run: {explain(error)}")
            with contextlib.suppress(Exception):
                self._made.fail(f"the tracker failed: {explain(error)}")


WORKERS: dict[tuple[str, float], Worker] = {}


def limited(label: str, section: Mapping[str, Any]) -> LimitedSink:
    """Return a sink for the tracker of a section, on the tracker's thread in this process."""
    limit = section.get("limit", LIMIT)
    if (label, limit) not in WORKERS:
        WORKERS[label, limit] = Worker(label, limit)
    return LimitedSink(section, WORKERS[label, limit])


@contextlib.contextmanager
def trackers_awaited() -> Iterator[None]:
    """Wait at the end of the block until the trackers of this process have been told everything.

    Each is waited for until it has not answered for its limit, or shortly if the block is
    interrupted.
    """
    most = HURRY
    try:
        yield
        most = float("inf")
    finally:
        for worker in WORKERS.values():
            worker.close(min(worker.limit, most))
