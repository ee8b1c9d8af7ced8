"""A queue of commands that works beside other things: idle cores, low priority, archived results.

A queue file has a command a line, after its priority (low numbers first) and the core-minutes that
it is expected to take:

    # comment
    10   35  train -m experiment=ahns_table2 dataset=tools sampler=rns 'seed=range(5)'
    20    0  table ahns_table2

Nothing but run folders and the archive remembers what is done, so a queue that is killed goes on
where it was.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from hapens_bench.config.quoting import hapens_command, hydra_value
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import jobs_of
from hapens_bench.launch.job import Job
from hapens_bench.runs.archive import open_archive
from hapens_bench.runs.archiving import add
from hapens_bench.runs.lock import RunBusy, hold
from hapens_bench.termination import REQUEUE

TRIES = 3  # of a command that a signal ended
POLL_SECONDS = 0.5
ARCHIVE_SECONDS = 20.0  # between looks for finished runs
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Line:
    """A command of a queue file; `words` are what is typed after `hapens`."""

    number: int
    priority: int
    minutes: float
    words: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether it is a sweep, which may run beside others."""
        return self.words[0] == "train"

    @property
    def command(self) -> str:
        """The command as it is typed."""
        return hapens_command(*self.words)


def read_queue(path: Path, commands: Sequence[str]) -> list[Line]:
    """Return the lines of a queue file, in the order in which they are worked on.

    Raises:
        UserError: when it cannot be read, or a line is not a priority, minutes and a command.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if not words:
                continue
            priority, minutes, (name, *rest) = int(words[0]), float(words[1]), words[2:]
        except (ValueError, IndexError):
            raise UserError(
                f"{path}, line {number}: a line has a priority (a whole number), core-minutes and "
                f"a command, such as: 10 35 train -m sampler=rns,dns"
            ) from None
        if name not in commands:
            raise UserError(
                f"{path}, line {number}: there is no command {name!r}; "
                f"a line takes one of {', '.join(commands)}"
            )
        lines.append(Line(number, priority, minutes, (name, *rest)))
    if not lines:
        raise UserError(f"{path} has no line with a command")
    return sorted(lines, key=lambda line: (line.priority, line.number))


@dataclass
class Queue:
    """The commands of a queue file, and what becomes of them.

    Sweeps run side by side, one on each core. Any other command waits for all lines before it, and
    the lines after it wait for it. So a `choose` may stand between a search and the trainings at
    the settings that it chooses. `archive` gets every finished run of the sweeps.
    """

    lines: list[Line]
    runs: Path
    archive: Path
    cores: int
    tell: Callable[[str], None]
    failed: list[str] = field(default_factory=list)
    trials: dict[Line, list[Job]] = field(init=False)

    def __post_init__(self) -> None:
        """Compose the trials of every sweep, with those that they need first.

        Raises:
            UserError: when one cannot be composed.
        """
        self.trials = {line: self.compose(line) for line in self.lines if line.trains}

    def compose(self, line: Line) -> list[Job]:
        """Return the trials of a sweep, as conf/ is now, with those that they need first.

        Raises:
            UserError: when one cannot be composed.
        """
        jobs = jobs_of(line.words[1:], [f"paths.runs={hydra_value(self.runs)}"])
        return jobs + [job.prerequisite for job in jobs if job.prerequisite is not None]

    def left(self, line: Line) -> int:
        """Return how many trials of a sweep neither run folders nor archives have."""
        held = open_archive(self.archive).rows
        return sum(
            job.folder.path.name not in held and job.folder.state() != "done"
            for job in self.trials[line]
        )

    def minutes(self, line: Line) -> float:
        """Return the core-minutes that a line is expected to take from now on."""
        if not line.trains:
            return line.minutes
        return line.minutes * self.left(line) / max(1, len(self.trials[line]))

    def work(self) -> None:
        """Work through all lines.

        Raises:
            UserError: when another queue works on the same run folders. Terminated: after a
                request to end; the sweeps have written their checkpoints then.
        """
        (self.runs / ".queue").mkdir(parents=True, exist_ok=True)
        try:
            with hold(self.runs / ".queue"):
                self._work()
        except RunBusy:
            raise UserError(f"another queue works on the run folders in {self.runs}") from None

    def _work(self) -> None:
        waiting, running = deque(self.lines), dict[subprocess.Popen[bytes], Line]()
        tries: dict[Line, int] = {}
        looked, news = time.monotonic(), True
        self.keep()
        try:
            while waiting or running:
                while waiting and self._may_start(waiting[0], running):
                    line = waiting.popleft()
                    if line.trains and not self.left(line):
                        self.tell(f"done before: {line.command}")
                        continue
                    tries[line] = tries.get(line, 0) + 1
                    running[self.start(line)] = line
                    news = True
                if news and running:
                    self.report(running.values(), waiting)
                news = False
                time.sleep(POLL_SECONDS)
                ended = [process for process in running if process.poll() is not None]
                if ended or time.monotonic() - looked > ARCHIVE_SECONDS:
                    looked = time.monotonic()
                    news = self.keep() > 0
                    for process in ended:
                        line = running.pop(process)
                        if self.end(line, process.returncode, tries[line]):
                            waiting.appendleft(line)
                        elif line.words[0] == "choose":  # it has written settings into conf/tuned
                            later = [one for one in waiting if one.trains]
                            self.trials |= {one: self.compose(one) for one in later}
        finally:
            for process in running:
                process.terminate()  # each sweep then writes its checkpoints
            for process in running:
                process.wait()
            self.keep()

    def _may_start(self, line: Line, running: dict[subprocess.Popen[bytes], Line]) -> bool:
        alone = not running
        beside = line.trains and all(other.trains for other in running.values())
        return alone or (beside and len(running) < self.cores)

    def start(self, line: Line) -> subprocess.Popen[bytes]:
        """Start a line's command at low priority, on one thread."""
        name, *words = line.words
        if name in ("train", "tune"):
            words.append(f"paths.runs={hydra_value(self.runs)}")
            if not any(word.startswith("trainer.threads=") for word in words):
                words.append("trainer.threads=1")
        elif name in ("table", "figure", "report", "choose") and "--runs" not in words:
            words += ["--runs", str(self.runs)]
        with self.log(line) as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hapens_bench.cli", name, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=stand_back,
            )

    def log_path(self, line: Line) -> Path:
        """Return the file with what a line's command has printed."""
        return self.runs / ".queue" / f"line-{line.number}.log"

    @contextmanager
    def log(self, line: Line) -> Iterator[IO[bytes]]:
        """Open the log of a line for appending."""
        with open(self.log_path(line), "ab") as file:
            file.write(f"\n$ {line.command}   # {datetime.now():%Y-%m-%d %H:%M}\n".encode())
            file.flush()
            yield file

    def end(self, line: Line, code: int, tries: int) -> bool:
        """Take a line's exit code; return whether it is to be started again."""
        if code == 0:
            self.tell(f"done: {line.command}")
        elif (code < 0 or code == REQUEUE) and tries < TRIES:
            self.tell(f"killed, and started again: {line.command}")
            return True
        else:
            self.failed.append(line.command)
            self.tell(f"failed (exit code {code}, see {self.log_path(line)}): {line.command}")
        return False

    def keep(self) -> int:
        """Archive what is finished; return how many runs were new."""
        held = open_archive(self.archive).rows
        folders = {
            job.folder.path.name: job.folder
            for jobs in self.trials.values()
            for job in jobs
            if not job.archived and job.folder.path.name not in held
        }
        done = [folder for folder in folders.values() if folder.state() == "done"]
        if not done:
            return 0
        with suppress(RunBusy):  # the next look finds them again
            added = add(done, self.archive)
            for what in added.refused:
                self.tell(f"not archived: {what}")
            return len(added.new)
        return 0

    def report(self, running: Iterable[Line], waiting: Iterable[Line]) -> None:
        """Tell in one line what the queue is at, and what is left."""
        now = list(running)
        rest = [*now, *waiting]
        trials = sum(self.left(line) for line in rest if line.trains)
        hours = sum(map(self.minutes, rest)) / 60 / self.cores
        at = " | ".join(line.command for line in now) or "nothing"
        self.tell(
            f"at: {at}; left: {len(rest)} lines, {trials} trials, about {hours:.1f} hours "
            f"on {self.cores} cores"
        )


def stand_back() -> None:
    """Give this process the lowest priority, and end it when its parent dies.

    Linux shares time between sessions first, so niceness alone does nothing for a process in a
    session of its own; its session is put last, too.
    """
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
