"""Locks of runs: one process at a time, on one machine or several that share a file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

BEAT_SECONDS = 15.0  # between signs of life
STALE_SECONDS = 60.0  # age of a dead owner's lease: NFS may cache the time of a file that long
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

_beating: set[Path] = set()


class RunBusy(Exception):
    """Another process is training this run."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder, by two files in it.

    `.lock` carries a lock of the operating system (flock), which ends with its process, however
    that dies. Many shared file systems pass it on to all machines, but some keep it to one machine
    or have none. So `.lease` names the machine that holds the folder and is touched every 15
    seconds. A lease of another machine that is younger than 60 seconds is respected, whatever the
    lock says.

    Raises:
        RunBusy: when another live process holds it.
    """
    with _locked(folder / ".lock") as locked, _leased(folder / ".lease", folder / ".lock", locked):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Take the system's lock; yield whether this file system has locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusy(str(path.parent)) from None
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _leased(path: Path, clock: Path, locked: bool) -> Iterator[None]:
    mine = json.dumps(
        {
            "machine": machine(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "id": uuid.uuid4().hex,
        }
    )
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            if not _left_behind(path, clock, locked):
                raise RunBusy(str(path.parent)) from None
            path.unlink(missing_ok=True)
    with open(descriptor, "w") as file:
        file.write(mine)
    _beating.add(path)
    _heart()
    try:
        yield
    finally:
        _beating.discard(path)
        with contextlib.suppress(OSError):
            if path.read_text() == mine:  # otherwise this process was taken for dead
                path.unlink()


def _left_behind(path: Path, clock: Path, locked: bool) -> bool:
    """Return whether the lease's owner is dead.

    An owner on this machine is dead if the system's lock was free. An owner on another machine
    counts as dead when the lease is old by the clock of the file system; the clocks of machines may
    differ.
    """
    try:
        with open(path) as file:  # opening makes NFS ask the server
            text, seen = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return True
    if locked and f'"machine": "{machine()}"' in text:
        return True
    os.utime(clock)
    return clock.stat().st_mtime - seen > STALE_SECONDS


@lru_cache(maxsize=1)
def machine() -> str:
    """Return the id of this machine's boot.

    Containers on it have the same kernel, and so the same locks.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


@lru_cache(maxsize=1)
def _heart() -> None:
    """Start a thread that keeps the leases of this process fresh until it ends."""

    def live() -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            beat()

    threading.Thread(target=live, name="leases", daemon=True).start()


def beat() -> None:
    """Touch all leases of this process."""
    for path in tuple(_beating):
        with contextlib.suppress(OSError):
            os.utime(path)
