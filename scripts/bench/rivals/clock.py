"""A clock that runs while a model trains and stands still while it is evaluated."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FIRST = 0.01  # seconds to the first evaluation
Arrays = Mapping[str, np.ndarray]


class Stopped(Exception):
    """The run is over: its quality is reached, or its time is up."""


class Clock:
    """Counts seconds of the clock (`seconds`) and of the processor (`cpu`), summed over threads.

    A run calls `start` where its training begins and `tick` after each piece of work. When `growth`
    times the seconds of the last evaluation have passed, `tick` stops the clock and calls `report`.
    """

    def __init__(self, report: Callable[[Clock, float], None], growth: float) -> None:
        self.report, self.growth = report, growth
        self.seconds, self.cpu, self.due = 0.0, 0.0, FIRST

    def start(self) -> None:
        self.begun, self.cpu_begun = time.perf_counter(), time.process_time()

    def tick(self, epochs: float, at_once: bool = False) -> None:
        """Go on counting, or report first where that is due (or asked for, `at_once`).

        Raises:
            Stopped: where `report` wants no more.
        """
        self.seconds += time.perf_counter() - self.begun
        self.cpu += time.process_time() - self.cpu_begun
        if at_once or self.seconds >= self.due:
            self.report(self, epochs)
            self.due = self.seconds * self.growth
        self.start()


class Job:
    """What a child is asked for: a setting, and train pairs [n, 2]; results go to `folder`."""

    def __init__(self, argv: list[str]) -> None:
        self.folder, asked = Path(argv[1]).resolve(), json.loads(argv[2])
        self.setting: dict[str, Any] = asked["setting"]
        self.threads, self.growth = int(asked["threads"]), float(asked["growth"])
        data = np.load(self.folder / "pairs.npz")
        self.pairs, self.sizes = data["pairs"], (int(data["users"]), int(data["items"]))


class Line:
    """The child's end of a run in another process: vectors go to a file, and a line says so.

    The answer on standard input is `on` or `stop`.
    """

    def __init__(self, job: Job, setup_seconds: float, version: str) -> None:
        self.folder, self.growth = job.folder, job.growth
        self.more = {"setup": setup_seconds, "version": version}
        self.out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer

    def clock(self, arrays: Callable[[], Arrays]) -> Clock:
        """Return a clock that hands over `arrays()`: user and item, or weights."""

        def report(clock: Clock, epochs: float) -> None:
            for name, array in arrays().items():
                np.save(self.folder / f"{name}.npy", np.asarray(array, dtype=np.float32))
            row = {"seconds": clock.seconds, "cpu": clock.cpu, "epochs": epochs, **self.more}
            print(json.dumps(row), file=self.out, flush=True)
            if sys.stdin.readline().strip() != "on":
                raise Stopped

        return Clock(report, self.growth)
