"""A clock that runs while a model trains and stands still while it is evaluated."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FIRST, GROWTH = 0.01, 1.05  # seconds to the first evaluation, and from one to the next (a factor)
Arrays = Mapping[str, np.ndarray]


class Stopped(Exception):
    """The run is over: its quality is reached, or its time is up."""


class Clock:
    """Counts seconds of the clock (`seconds`) and of the processor (`cpu`), summed over threads.

    A run calls `start` where its training begins and `tick` after each piece of work. When 5% more
    time has passed than at the last evaluation, `tick` stops the clock and calls `report`.
    """

    def __init__(self, report: Callable[[Clock, float], None]) -> None:
        self.report, self.seconds, self.cpu, self.due = report, 0.0, 0.0, FIRST

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
            self.due = self.seconds * GROWTH
        self.start()


class Line:
    """The child's end of a run in another process: vectors go to a file, and a line says so.

    The answer on standard input is `on` or `stop`.
    """

    def __init__(self, folder: str, setup_seconds: float, version: str) -> None:
        self.folder, self.more = Path(folder), {"setup": setup_seconds, "version": version}
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

        return Clock(report)


def job(argv: list[str]) -> tuple[str, dict[str, Any], np.ndarray, int, int]:
    """Return a child's folder and setting, the train pairs [n, 2], and how many users and items."""
    folder, setting = argv[1:]
    data = np.load(Path(folder) / "pairs.npz")
    return folder, json.loads(setting), data["pairs"], int(data["users"]), int(data["items"])
