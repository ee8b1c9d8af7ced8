"""The journal: the file that holds all studies of a search."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from hapens_bench.errors import UserError
from hapens_bench.tracking.screen import screen


class _Held(JournalFileSymlinkLock):
    """No lock of its own.

    `open_journal` holds one for the whole command, and the system releases it however that dies.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextlib.contextmanager
def open_journal(path: Path) -> Iterator[JournalStorage]:
    """Open the journal for this process alone.

    A last line that a kill cut off is dropped with a message. Nothing is lost: a trial whose end
    it told still counts as running, and its run folders hold its result.

    Raises:
        UserError: when another process has it open, or it cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is tuning with {path}; wait for it, or take another paths.runs"
        ) from None
    try:
        if path.exists():
            _drop_cut_off_line(path)
        try:
            _check_lines(path)
            storage = JournalStorage(JournalFileBackend(str(path), _Held(str(path))))
        except Exception as error:  # whatever optuna makes of a foreign line
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"{path} cannot be read ({why}); move it away to begin anew: finished runs are kept"
            ) from None
        yield storage
    finally:
        lock.release()


def _drop_cut_off_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        screen(stderr=True).print(
            f"the last line of {path} was cut off and is dropped", soft_wrap=True
        )
        with open(path, "r+b") as file:
            file.truncate(whole)


def _check_lines(path: Path) -> None:
    """Check every line; optuna takes an unreadable last one to be still in writing."""
    for k, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
        try:
            json.loads(line)["op_code"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {k} is not an entry of a journal: {error}") from None
