import json
import os
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import ARTEFACTS, FOUND, RunFolder
from hapens_bench.runs.lock import RunBusy


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
    folder.write_summary(
        {
            "x": float("nan"),
            "y": [float("inf"), 1.5],
            "z": (np.float32("nan"), np.int64(3), np.True_),
        }
    )
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "x": None,
        "y": [None, 1.5],
        "z": [None, 3, True],
    }


def test_the_lock_keeps_other_processes_out_and_falls_with_its_process(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from hapens_bench.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
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
        "import os, sys; from pathlib import Path; from hapens_bench.runs.folder import RunFolder\n"
        "os.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "folder = RunFolder(Path(sys.argv[1]))\n"
        "with folder.lock():\n    folder.write_summary({'a': 2})"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert list(tmp_path.glob(".*.tmp"))
    with RunFolder(tmp_path).lock():
        assert not list(tmp_path.glob(".*.tmp")) and RunFolder(tmp_path).read_summary() == {"a": 1}


def test_a_checkpoint_survives_the_round_trip_and_a_damaged_one_is_set_aside(tmp_path, caplog):
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
    assert folder.load_checkpoint() is None and caplog.text.count("set aside") == 2
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


def flip(path, chance):
    """Change one random bit of a file."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def test_one_wrong_bit_in_anything_that_a_run_found_is_noticed(tmp_path):
    folder, chance = RunFolder(tmp_path), random.Random(0)
    folder.write_config("seed: 1\n")
    folder.write_history([{"epoch": k, "a": k / 7} for k in range(30)])
    folder.write_users(pd.DataFrame({"user": range(50)}))
    folder.write_ranks(pd.DataFrame({"user": range(50)}))
    folder.write_indicators(pd.DataFrame({"H": range(50)}))
    for name in ARTEFACTS.values():
        folder.write_arrays(name, {"min": np.arange(50.0)})
    folder.write_summary({"run_id": "x", "value": 0.123456})
    folder.write_status("done")
    readers = {"config.yaml": folder.read_config, "summary.json": folder.read_summary}
    readers |= {
        f"{name}.parquet": partial(folder.read_frame, name)
        for name in ("history", "users", "ranks", "indicators")
    }
    readers |= {f"{name}.npz": partial(folder.read_arrays, name) for name in ARTEFACTS.values()}
    assert folder.is_done() and set(readers) == set(FOUND)
    for name, read in readers.items():
        path, read_before = tmp_path / name, read()
        whole = path.read_bytes()
        for _ in range(20):
            flip(path, chance)
            assert not folder.is_done()
            with pytest.raises(DamagedRun, match=f"{name} is damaged: its checksum is wrong"):
                read()
            path.write_bytes(whole)
        path.unlink()
        assert not folder.is_done()
        path.write_bytes(whole)
        assert folder.is_done() and str(read()) == str(read_before)
    status = (tmp_path / "status.json").read_bytes()
    for _ in range(100):  # a run whose status is damaged is run again, or is what it was
        flip(tmp_path / "status.json", chance)
        folder.is_done()
        assert folder.read_summary()["value"] == 0.123456 if folder.is_done() else True
        (tmp_path / "status.json").write_bytes(status)


def test_one_wrong_bit_in_a_checkpoint_never_becomes_a_wrong_tensor(tmp_path):
    folder, chance = RunFolder(tmp_path), random.Random(1)
    state = {"parameters": {"a": torch.randn(200, 16)}, "rows": [{"loss": 0.5}] * 9, "steps": 3}
    folder.save_checkpoint(state)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    damaged = 0
    for _ in range(200):
        (tmp_path / "checkpoint.pt").write_bytes(whole)
        flip(tmp_path / "checkpoint.pt", chance)
        loaded = folder.load_checkpoint()
        damaged += loaded is None
        if loaded is not None:  # the bit is one that is never read
            assert loaded["rows"] == state["rows"] and loaded["steps"] == 3
            assert torch.equal(loaded["parameters"]["a"], state["parameters"]["a"])
    assert damaged > 150


def test_frames(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_history([{"epoch": 0, "a": 1.0}, {"epoch": 1, "b": 2.0}])
    assert folder.read_frame("history")["epoch"].tolist() == [0, 1]
    folder.write_users(pd.DataFrame({"user": [1]}))
    (tmp_path / "users.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedRun, match="users"):
        folder.read_frame("users")
