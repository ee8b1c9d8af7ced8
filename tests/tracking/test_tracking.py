import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from hapens_bench.tracking.run_folder import DamagedRun, RunBusy, RunFolder
from hapens_bench.tracking.sink import SafeSinks


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.write_summary({"a": 1})

    def full(fd):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        folder.write_summary({"a": 2})
    assert folder.read_summary() == {"a": 1}
    assert sorted(p.name for p in folder.path.iterdir()) == ["summary.json"]


def test_json_is_strict(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_summary({"x": float("nan"), "y": [float("inf"), 1.5], "z": (np.float32("nan"), np.int64(3), np.True_)})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"x": None, "y": [None, 1.5], "z": [None, 3, True]}


def test_the_lock_keeps_other_processes_out_and_falls_with_its_process(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from hapens_bench.tracking.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunBusy), RunFolder(tmp_path).lock():
        pass
    holder.kill()
    holder.wait()
    with RunFolder(tmp_path).lock():
        pass


def test_what_a_kill_leaves_half_written_is_removed_by_the_next_holder(tmp_path):
    RunFolder(tmp_path).write_summary({"a": 1})
    code = (
        "import os, sys; from pathlib import Path; from hapens_bench.tracking.run_folder import RunFolder\n"
        "os.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "folder = RunFolder(Path(sys.argv[1]))\nwith folder.lock():\n    folder.write_summary({'a': 2})"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert list(tmp_path.glob(".*.tmp"))
    with RunFolder(tmp_path).lock():
        assert not list(tmp_path.glob(".*.tmp")) and RunFolder(tmp_path).read_summary() == {"a": 1}


def test_a_checkpoint_survives_the_round_trip_and_a_damaged_one_is_put_aside(tmp_path, caplog):
    folder = RunFolder(tmp_path)
    assert folder.load_checkpoint() is None
    state = {"pack": {"w": torch.randn(3, 2)}, "rows": [{"epoch": 0, "loss": 0.1}], "none": None}
    folder.save_checkpoint(state)
    loaded = folder.load_checkpoint()
    assert torch.equal(loaded["pack"]["w"], state["pack"]["w"]) and loaded["rows"] == state["rows"]
    path = tmp_path / "checkpoint.pt"
    torch.save(torch.zeros(2), path)
    assert folder.load_checkpoint() is None and "no dictionary" in caplog.text
    path.write_bytes(b"PK" + bytes(98))
    assert folder.load_checkpoint() is None and caplog.text.count("put aside") == 2
    assert (tmp_path / "checkpoint.corrupt").exists() and not path.exists()


def test_done_needs_a_readable_summary(tmp_path):
    folder = RunFolder(tmp_path)
    assert not folder.is_done() and folder.read_status() is None
    folder.write_status("done")
    assert not folder.is_done()
    folder.write_summary({"run_id": "x"})
    assert folder.is_done()
    (tmp_path / "summary.json").write_text("{")
    assert not folder.is_done()
    with pytest.raises(DamagedRun, match="summary"):
        folder.read_summary()


def test_frames(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_history([{"epoch": 0, "a": 1.0}, {"epoch": 1, "b": 2.0}])
    assert folder.read_frame("history")["epoch"].tolist() == [0, 1]
    folder.write_users(pd.DataFrame({"user": [1]}))
    (tmp_path / "users.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedRun, match="users"):
        folder.read_frame("users")


class Recorder:
    """Notes what it is told; throws where it is asked to."""

    def __init__(self, *broken):
        self.broken, self.calls = broken, []

    def _note(self, name):
        self.calls.append(name)
        if name in self.broken:
            raise RuntimeError("the server is down")

    def start(self, run):
        self._note("start")

    def log(self, stage, epoch, row):
        self._note("log")

    def finish(self, summary):
        self._note("finish")

    def fail(self, reason):
        self._note("fail")


@pytest.mark.parametrize("broken", [("log",), ("log", "fail")])
def test_a_sink_that_throws_costs_a_warning_only(caplog, broken):
    bad, good = Recorder(*broken), Recorder()
    sinks = SafeSinks([bad, good])
    sinks.start(None)
    sinks.log("full", 0, {})
    sinks.log("full", 1, {})
    sinks.finish({})
    assert bad.calls == ["start", "log", "fail"], "it is closed once, then left alone"
    assert good.calls == ["start", "log", "log", "finish"]
    assert caplog.messages == ["Recorder failed and is left out from here on: RuntimeError: the server is down"]


def test_the_trials_of_a_pack_that_lose_a_tracker_for_the_same_reason_say_so_once(caplog):
    for bad in (Recorder("start"), Recorder("start")):
        SafeSinks([bad]).start(None)
        assert bad.calls == ["start", "fail"]
    assert len(caplog.messages) == 1


def test_logger_none_imports_no_tracker(tmp_path):
    code = (
        "import sys; from hapens_bench.cli import train; "
        f"rc = train(['debug=fast', 'dataset.users=50', 'trainer.batch_size=64', 'paths.runs={tmp_path}']); "
        "assert rc == 0, rc; assert not {'wandb', 'trackio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
