"""A process that runs the cases of a fuzz test, with bounds on memory and on time per case."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

GIBIBYTES = 4  # that a case may take beyond what the process has once everything is imported
SECONDS = 60  # of a case; on an idle machine a case takes a fraction of one


@dataclass(frozen=True)
class Outcome:
    """How a case ended: its exit code or the traceback of an uncaught error, and its output."""

    code: int | None
    printed: str
    uncaught: str = ""


def cases(n: int) -> settings:
    """Return the settings of a fuzz test of n cases, the same ones every time."""
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=quiet
    )


class Bounded:
    """Calls `function` in its own process and folder; a call that hangs is ended and reported."""

    def __init__(self, function: Callable[[Any], int], place: Path) -> None:
        self.function, self.place = function, place
        self.process: Any = None

    def __enter__(self) -> Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, case: Any) -> Outcome:
        if self.process is None:
            self._start()
        try:
            self.pipe.send(case)
            if self.pipe.poll(SECONDS):
                return self.pipe.recv()
            reason = f"no end after {SECONDS} s"
        except (EOFError, OSError):
            self.process.join()
            reason = f"the process died with {self.process.exitcode}"
        self._end()
        return Outcome(None, "", reason)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, self.function, self.place), daemon=True
        )
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def _serve(pipe: Connection, function: Callable[[Any], int], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    os.chdir(place)
    os.environ |= {
        "HOME": str(place),
        "HAPENS_CACHE": "cache",
        "HAPENS_MIRROR": "",
        "https_proxy": "http://127.0.0.1:9",
    }
    # Import torch and the compiled loops before memory is bounded.
    import hapens_bench.launch.sweep  # noqa: F401
    from hapens_bench.kernels import cpu

    cpu.prepare()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIBIBYTES * 2**30,) * 2)
    pipe.send("ready")
    while True:
        pipe.send(_outcome(function, pipe.recv()))


def _outcome(function: Callable[[Any], int], case: Any) -> Outcome:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            return Outcome(function(case), printed.getvalue())
        except SystemExit as ended:  # argparse
            return Outcome(int(ended.code or 0), printed.getvalue())
        except BaseException:
            return Outcome(None, printed.getvalue(), traceback.format_exc())
