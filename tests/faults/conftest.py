"""A disturbed sweep, the same sweep undisturbed, and a table of the faults and their costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TRIALS = 20
SWEEP = [
    "sampler=dns",
    "sampler.M=2,8",
    "trainer.lr=0.001,0.003",
    "seed=range(5)",
    "trainer.epochs=30",
]
SMALL = [
    "dataset.users=400",
    "dataset.items=300",
    "model.D=16",
    "trainer.batch_size=512",
    "trainer.eval_every=5",
]
FIXED = ["trainer.device=cpu", "trainer.checkpoint_seconds=0", "hydra.launcher.max_trials=4"]


@dataclass
class Sweep:
    """Twenty trials in their own folder."""

    place: Path
    more: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        return self.place / "runs"

    def start(self, *overrides: str) -> subprocess.Popen:
        paths = [f"paths.runs={self.runs}", f"paths.cache={self.place / 'cache'}"]
        typed = [*SWEEP, *SMALL, *FIXED, *paths, *self.more, *overrides]
        last = {
            override.split("=")[0]: override for override in typed
        }  # what is said later replaces what was said before
        command = [sys.executable, "-m", "hapens_bench", "-m", *last.values()]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(
            command, start_new_session=True, env=os.environ | self.environment, **quiet
        )

    def finish(self, *overrides: str) -> str:
        """Run the sweep again, wait for its end, and return its output."""
        process = self.start(*overrides)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        return said

    def done(self) -> dict[str, bytes]:
        """Return the summaries of the finished trials, by run id."""
        summaries = {}
        for path in self.runs.glob("*/*/*/*/status.json"):
            if json.loads(path.read_bytes()).get("state") == "done":
                summaries[path.parent.name] = (path.parent / "summary.json").read_bytes()
        return summaries

    def metrics(self) -> dict[str, dict]:
        return {name: json.loads(text)["selection"] for name, text in self.done().items()}


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    """Send a signal to a launcher and all its processes."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
    process.communicate()


def workers(process: subprocess.Popen) -> list[int]:
    """Return the process ids of a launcher's workers."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except OSError:
        return []


@dataclass(frozen=True)
class Calm:
    """The undisturbed sweep: its metrics, and the seconds until training began and it ended."""

    place: Path
    metrics: dict[str, dict]
    start_up: float
    whole: float


@pytest.fixture(scope="session")
def calm(tmp_path_factory) -> Calm:
    sweep = Sweep(tmp_path_factory.mktemp("calm"))
    begun = time.monotonic()
    process = sweep.start()
    while process.poll() is None and not list(sweep.runs.glob("*/*/*/*/status.json")):
        time.sleep(0.02)
    start_up = time.monotonic() - begun
    said, _ = process.communicate()
    assert process.returncode == 0 and len(sweep.metrics()) == TRIALS, said
    return Calm(sweep.place, sweep.metrics(), start_up, time.monotonic() - begun)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    return Sweep(tmp_path)


ROWS: list[tuple[str, ...]] = []


@pytest.fixture
def survived(calm):
    """Check that a sweep ended with the undisturbed metrics, and add it to the table.

    Seconds lost are those beyond one undisturbed run of the sweep. Results lost are the finished
    trials that had to be trained again.
    """

    def check(
        fault: str, sweep: Sweep, tried: int, seconds: float | None, before: dict[str, bytes]
    ) -> None:
        assert sweep.metrics() == calm.metrics
        after = sweep.done()
        lost = sum(after[name] != text for name, text in before.items())
        beyond = "-" if seconds is None else f"{max(0.0, seconds - calm.whole):.0f}"
        ROWS.append((fault, str(tried), str(tried), beyond, str(lost)))
        assert lost == 0

    return check


def pytest_terminal_summary(terminalreporter) -> None:
    if ROWS:
        rows = [("fault", "tried", "survived", "seconds lost", "results lost"), *ROWS]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            terminalreporter.write_line(
                "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            )
