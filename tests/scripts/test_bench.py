"""scripts/bench: rows are on disk as they are measured, and steps never run past an epoch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "bench"
if not FOLDER.is_dir():
    pytest.skip("a wheel has no scripts", allow_module_level=True)
sys.path.insert(0, str(FOLDER))


@pytest.mark.parametrize("sampler", ["rns", "gdns"])
def test_steps_go_on_with_the_next_epoch_and_never_take_an_empty_batch(sampler, monkeypatch):
    from workload import Ours

    from hapens_bench.data.load import load
    from tests.conftest import make_config

    config = make_config("dataset.users=80", "dataset.items=300")
    split = load(config["dataset"], config["protocol"], Path("unused"), None)
    ours = Ours(split, [f"sampler={sampler}", "trainer.batch_size=32"], engine="reference")
    taken, step, epochs = [], ours.loop.step, []

    def watched(place):
        users = ours.loop.ordered[0][:, place]
        taken.append(users.shape[1])
        epochs.append(int(ours.loop.epoch))
        step(place)

    monkeypatch.setattr(ours.loop, "step", watched)
    ours.epoch_of(1)
    taken.clear()
    epochs.clear()
    whole = ours.loop.train.shape[1] // 32
    assert ours.steps(2 * whole + 1) > 0
    assert taken == [32] * (2 * whole + 1), "a step had no whole batch"
    assert epochs == [0] * whole + [1] * whole + [2]


def test_a_record_holds_every_row_as_soon_as_it_is_measured(tmp_path):
    from machine import Record

    record = Record(tmp_path / "new" / "bench", {"cpu": "x"}, rounds=3)
    for k in range(3):
        record.add({"way": f"a, {k}", "value": k / 3} | ({"note": "late"} if k == 2 else {}))
        found = pd.read_csv(tmp_path / "new" / "bench.csv")
        assert found["way"].tolist() == [f"a, {n}" for n in range(k + 1)]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "bench.csv",
        "bench.provenance.json",
    ]


def test_a_bench_that_is_killed_leaves_the_rows_it_had(tmp_path):
    command = [
        sys.executable,
        str(FOLDER / "bench.py"),
        "--only",
        "growth",
        "--rounds",
        "1",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        for _ in range(600):
            path = tmp_path / "bench.csv"
            if path.exists() and path.read_text().count("\n") >= 3:
                break
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    found = pd.read_csv(tmp_path / "bench.csv")
    assert len(found) >= 2 and (found["section"] == "growth").all() and found["value"].notna().all()
