import json
import shutil
import sys

import pandas as pd
import pytest
import torch

from hapens_bench.cli.main import main
from hapens_bench.launch.job import Job
from hapens_bench.launch.run import run_pack
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.trackio import TrackioSink
from tests.conftest import make_config
from tests.tracking.readers import curve, trackio_runs, wandb_synced


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two finished runs of RNS and one of DNS that no tracker has seen."""
    runs = tmp_path_factory.mktemp("trained") / "runs"
    tiny = [
        "dataset.users=60",
        "dataset.items=600",
        "trainer.batch_size=128",
        "trainer.epochs=3",
        f"paths.runs={runs}",
    ]
    for overrides in (["seed=0"], ["seed=1"], ["sampler=dns"]):
        job = Job(make_config(*tiny, *overrides), [])
        run_pack([job], torch.device("cpu"))
        assert job.state == "done"
    return runs


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def push(runs, *arguments):
    return main(["push", *arguments, "--runs", str(runs)])


def expected(folder):
    history = pd.read_parquet(folder / "history.parquet")
    full = history[history["stage"] == "full"]
    return full["train/loss"].tolist(), full["test/Recall@20"].dropna().tolist()


def test_trackio_is_filled_once_from_finished_runs(runs, trackio_folder, capsys):
    for again, count in (
        ([], "3 pushed\n"),
        ([], "3 pushed before\n"),
        (["--again"], "3 pushed\n"),
    ):
        assert push(runs, "trackio", "--set", "project=once", *again) == 0
        assert capsys.readouterr().out.endswith(count)
        logged = trackio_runs(trackio_folder, "once")
        folders = {path.parent.name: path.parent for path in runs.glob("*/*/*/*/summary.json")}
        assert set(logged) == set(folders) and len(logged) == 3
        for name, folder in folders.items():
            logs = logged[name]["logs"]
            assert (curve(logs, "full/train/loss"), curve(logs, "full/test/Recall@20")) == expected(
                folder
            )
            assert len(curve(logs, "results")) == 1


def test_wandb_is_filled_once_from_finished_runs(runs, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert push(runs, "wandb", "--sampler", "rns") == 0
    assert capsys.readouterr().out.endswith("2 pushed\n")
    assert push(runs, "wandb", "--dataset", "planted", "tools") == 0
    assert capsys.readouterr().out.endswith("1 pushed, 2 pushed before\n")
    assert push(runs, "wandb") == 0
    places = list(runs.glob("*/*/*/*/wandb/offline-run-*"))
    assert len(places) == 3
    for place in places[:2]:
        folder, logged = place.parent.parent, wandb_synced(place)
        assert logged["run"]["name"] == folder.name
        history = logged["history"]
        assert (
            curve(history, "full/train/loss"),
            curve(history, "full/test/Recall@20"),
        ) == expected(folder)
        reports = json.loads((folder / "summary.json").read_text())["selection"]
        assert [row[0] for row in logged["table"]["data"]] == list(reports)
        for selection, report in reports.items():
            assert logged["summary"][f"{selection}/test/Recall@20"] == report["test"]["Recall@20"]


def test_what_changed_since_is_pushed_again(runs, trackio_folder, capsys):
    assert push(runs, "trackio", "--set", "project=changed", "--sampler", "dns") == 0
    (path,) = runs.glob("*/*/dns/*/summary.json")
    path.write_text(path.read_text().replace('"train_seconds": ', '"train_seconds": 1'))
    RunFolder(path.parent).write_status("done")
    assert push(runs, "trackio", "--set", "project=changed", "--sampler", "dns") == 0
    assert capsys.readouterr().out.endswith("1 pushed\n"), "the run was trained again"
    assert push(runs, "trackio", "--set", "project=other", "--sampler", "dns") == 0
    assert capsys.readouterr().out.endswith("1 pushed\n"), "it goes to another project"


@pytest.mark.parametrize("damaged", ["summary.json", "history.parquet", "config.yaml"])
def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_pushed(
    runs, trackio_folder, capsys, damaged
):
    (path,) = runs.glob(f"*/*/dns/*/{damaged}")
    path.write_bytes(b"{")
    assert push(runs, "trackio", "--set", f"project=without-{damaged[:4]}") == 0
    out, err = capsys.readouterr()
    assert f"skipped {path.parent}: {damaged} is damaged" in err
    assert out.endswith("2 pushed, 1 skipped\n")


def test_a_tracker_that_fails_is_named_and_does_not_count_as_pushed(
    runs, trackio_folder, capsys, monkeypatch
):
    def broken(self, summary):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(TrackioSink, "finish", broken)
        assert push(runs, "trackio", "--set", "project=broken") == 1
    out, err = capsys.readouterr()
    assert out.endswith("3 failed\n") and err.count("OSError: no space left on device") == 3
    assert push(runs, "trackio", "--set", "project=broken") == 0
    assert capsys.readouterr().out.endswith("3 pushed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trackio", "--sampler", "ahns"], "there are no such finished runs"),
        (["trackio", "--set", "colour=red"], "there is no key logger.trackio.colour"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(runs, capsys, arguments, message):
    assert push(runs, *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_tracker_that_is_not_installed_is_one_sentence_and_exit_code_2(runs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert push(runs, "wandb") == 2
    assert capsys.readouterr().err.startswith("error: wandb cannot be imported")
    assert not list(runs.glob("**/pushed.json"))
