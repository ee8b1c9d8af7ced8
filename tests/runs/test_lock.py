"""Locks of runs on file systems that several machines share, tested on one machine."""

import errno
import fcntl
import json
import os
import time

import pytest

from hapens_bench.runs import lock
from hapens_bench.runs.lock import RunBusy, hold


def leave_lease(folder, machine, age):
    path = folder / ".lease"
    path.write_text(json.dumps({"machine": machine, "host": "node7", "pid": 1, "id": "x"}))
    os.utime(path, (time.time() - age,) * 2)


def test_the_lease_lies_there_while_the_run_is_held_and_is_kept_fresh(tmp_path):
    with hold(tmp_path):
        path = tmp_path / ".lease"
        lease = json.loads(path.read_text())
        assert (lease["machine"], lease["pid"]) == (lock.machine(), os.getpid())
        os.utime(path, (0, 0))
        lock.beat()
        assert time.time() - path.stat().st_mtime < 10
        with pytest.raises(RunBusy), hold(tmp_path):
            pass
    assert not path.exists()


def test_a_fresh_lease_of_another_machine_keeps_out_and_an_old_one_does_not(tmp_path):
    leave_lease(tmp_path, "another", 5)
    with pytest.raises(RunBusy), hold(tmp_path):
        pass
    leave_lease(tmp_path, "another", lock.STALE_SECONDS + 5)
    with hold(tmp_path):
        assert json.loads((tmp_path / ".lease").read_text())["machine"] == lock.machine()


def test_what_a_killed_process_of_this_machine_left_is_taken_at_once(tmp_path):
    leave_lease(tmp_path, lock.machine(), 0)
    with hold(tmp_path):
        pass


def test_a_file_system_without_locks_has_the_lease(tmp_path, monkeypatch):
    def none(descriptor, how):
        raise OSError(errno.ENOSYS, "no flock here")

    monkeypatch.setattr(fcntl, "flock", none)
    with hold(tmp_path), pytest.raises(RunBusy), hold(tmp_path):
        pass
    leave_lease(tmp_path, lock.machine(), 5)
    with pytest.raises(RunBusy), hold(tmp_path):
        pass
    leave_lease(tmp_path, lock.machine(), lock.STALE_SECONDS + 5)
    with hold(tmp_path):
        pass


def test_who_was_taken_for_dead_does_not_remove_the_lease_of_the_next(tmp_path):
    with hold(tmp_path):
        leave_lease(tmp_path, "another", 0)
    assert json.loads((tmp_path / ".lease").read_text())["machine"] == "another"


def test_an_error_of_the_disk_is_no_other_process(tmp_path, monkeypatch):
    def broken(descriptor, how):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="broken disk"), hold(tmp_path):
        pass
