import json
import shutil
import time

import pandas as pd
import pytest

from hapens_bench.runs import ledger
from hapens_bench.runs.folder import RunFolder


def make_run(root, name="a", seed=0, state="done") -> RunFolder:
    folder = RunFolder(root / "tools" / "mf" / "rns" / name)
    test = {"Recall@20": 0.05 + seed / 1000, "NDCG@20": 0.03}
    summary = {
        "run_id": name,
        "config_id": "c",
        "split_id": "s",
        "dataset": "tools",
        "protocol": "ahns",
        "model": "mf",
    }
    summary |= {
        "sampler": "rns",
        "seed": seed,
        "data_hash": "h",
        "git_sha": "g",
        "validation": 0.04,
    }
    selections = {"valid": {"epoch": 5, "converged": True, "test": test}}
    folder.write_summary(summary | {"selection": selections})
    folder.write_history([{"epoch": e, "train/loss": 1.0 / (e + 1)} for e in range(3)])
    folder.write_users(
        pd.DataFrame({"selection": "valid", "user": [0, 1], "Recall@20": [0.0, 0.1]})
    )
    folder.write_status(state)
    return folder


def test_a_row_for_each_run_selection_and_metric(tmp_path):
    for seed, name in enumerate("ab"):
        make_run(tmp_path, name, seed)
    make_run(tmp_path, "c", state="running")
    found = ledger.load(tmp_path)
    frame = found.frame()
    assert list(frame.columns) == ledger.COLUMNS and len(frame) == 4
    row = frame[(frame["run_id"] == "b") & (frame["metric"] == "Recall@20")].iloc[0]
    assert (row["seed"], row["value"], row["data_hash"], row["split_id"]) == (
        1,
        pytest.approx(0.051),
        "h",
        "s",
    )
    assert [(one["state"], one["folder"][-1]) for one in found.unfinished] == [("running", "c")]


def test_histories_and_users_on_demand(tmp_path):
    for seed, name in enumerate("ab"):
        make_run(tmp_path, name, seed)
    runs = ledger.load(tmp_path).runs
    assert len(ledger.epochs(runs)) == 6 and ledger.epochs(runs)["seed"].tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    assert ledger.users(runs).groupby("run_id").size().to_dict() == {"a": 2, "b": 2}
    assert ledger.epochs([]).empty


def test_the_index_is_used_and_notices_every_change(tmp_path, monkeypatch):
    first = make_run(tmp_path, "a")
    ledger.load(tmp_path)
    read = []
    monkeypatch.setattr(
        ledger, "_read", lambda path, real=ledger._read: read.append(path.name) or real(path)
    )
    assert len(ledger.load(tmp_path).runs) == 1 and not read
    changed = first.read_summary() | {"seed": 7}
    first.write_summary(changed)
    first.write_status("done")
    assert ledger.load(tmp_path).runs[0]["seed"] == 7 and read == ["a"]
    first.write_status("running")  # started again
    found = ledger.load(tmp_path)
    assert not found.runs and found.unfinished[0]["state"] == "running"
    shutil.rmtree(first.path)
    assert not ledger.load(tmp_path).unfinished


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"tools/mf/rns/a": {}}', '{"tools/mf/rns/a": 3}', "\x00\xff"]
)
def test_a_damaged_index_costs_nothing_but_time(tmp_path, content):
    make_run(tmp_path, "a")
    (tmp_path / ledger.INDEX).write_text(content)
    assert len(ledger.load(tmp_path).runs) == 1


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path, monkeypatch):
    make_run(tmp_path, "a")

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(ledger.os, "replace", refuse)
    assert len(ledger.load(tmp_path).runs) == 1 and not (tmp_path / ledger.INDEX).exists()


def test_a_run_cut_off_at_any_byte_is_named_and_skipped(tmp_path):
    make_run(tmp_path, "good")
    bad = make_run(tmp_path, "bad")
    (tmp_path / "tools" / "stray").write_text("a foreign file")
    (tmp_path / "notes.txt").write_text("another")
    for name in ("summary.json", "status.json"):
        whole = (bad.path / name).read_bytes()
        for length in range(0, len(whole) - 2, 7):
            (bad.path / name).write_bytes(whole[:length])
            found = ledger.load(tmp_path)
            assert [run["run_id"] for run in found.runs] == ["good"]
            assert len(found.skipped) == 1 and name in found.skipped[0]
        (bad.path / name).write_bytes(whole)
    assert len(ledger.load(tmp_path).runs) == 2


@pytest.mark.parametrize(
    "content", ["[]", "{}", "3", '{"state": "done"}', '{"state": ["done"]}', '{"state": null}']
)
def test_json_that_is_no_summary_is_named(tmp_path, content):
    folder = make_run(tmp_path)
    (folder.path / "summary.json").write_text(content)
    folder.write_status("done")
    found = ledger.load(tmp_path)
    assert not found.runs and len(found.skipped) == 1
    (folder.path / "status.json").write_text(content)
    assert len(ledger.load(tmp_path).runs) == 0


@pytest.mark.slow
def test_ten_thousand_runs_load_in_ten_seconds(tmp_path):
    one = make_run(tmp_path / "one", "a")
    summary = one.read_summary()
    for k in range(10_000):
        folder = tmp_path / "many" / f"d{k % 8}" / "mf" / f"s{k % 13}" / f"{k:012x}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(summary | {"run_id": f"{k:012x}"}))
        RunFolder(folder).write_status("done")
    for _ in range(2):  # without and with the index
        begun = time.perf_counter()
        frame = ledger.load(tmp_path / "many").frame()
        assert time.perf_counter() - begun < 10 and len(frame) == 20_000
