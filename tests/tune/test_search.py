"""A search on the planted data: budgets, pruning, interruption and its journal."""

import shutil

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from hapens_bench.cli import main
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.runs.folder import RunFolder
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.tune import loop
from tests.tune.searches import PRUNED, search, typed


def same(one, other):
    columns = ["sampler", "trial", "setting", "value", "epoch", "state", "run_id", "epochs"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *search(folder, *PRUNED)


def test_every_sampler_gets_its_budget_and_pruned_trials_are_part_of_it(whole):
    _, _, frame = whole
    assert frame.groupby("sampler")["trial"].apply(list).to_dict() == {
        "rns": [*range(6)],
        "dns": [*range(6)],
    }
    states = frame.groupby("sampler")["state"].value_counts().unstack(fill_value=0)
    assert (
        (states["pruned"] > 0).all()
        and (states["complete"] > 2).all()
        and set(states) == {"pruned", "complete"}
    )
    assert (frame.loc[frame["trial"] < 2, "state"] == "complete").all(), (
        "nothing is known before the first batch"
    )
    pruned = frame[frame["state"] == "pruned"]
    assert (pruned["epoch"] >= 1).all() and (pruned["epochs"] == pruned["epoch"] + 1).all()
    assert (frame.loc[frame["state"] == "complete", "epochs"] == 4).all()
    best = frame.groupby("sampler")["value"].transform("max")
    assert (pruned["value"] < best[pruned.index]).all()


def test_a_pruned_run_keeps_its_history_and_says_why(whole):
    folder, _, frame = whole
    for row in frame[frame["state"] == "pruned"].to_dict("records"):
        run = RunFolder(folder / "runs" / "planted" / "mf" / row["sampler"] / row["run_id"])
        status = run.read_status()
        assert (
            status["state"] == "pruned"
            and f"pruned in epoch {row['epoch']:.0f}" in status["reason"]
        )
        assert run.read_frame("history")["valid/Recall@20"].max() == row["value"]
        assert not (run.path / "checkpoint.pt").exists() and not run.is_done()


def test_trials_of_tpe_are_those_of_the_sampler_alone_and_differ_between_seeds(whole, tmp_path):
    _, _, frame = whole
    _, alone = search(tmp_path, *PRUNED, "sampler=dns")
    same(alone, frame[frame["sampler"] == "dns"].reset_index(drop=True))
    _, other = search(tmp_path, *PRUNED, "sampler=dns", "tune.seed=1")
    assert not set(other["setting"]) & set(alone["setting"])


def test_a_search_typed_again_trains_nothing_and_a_larger_budget_goes_on(whole, monkeypatch):
    folder, _, frame = whole
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    monkeypatch.setattr(
        loop, "train_jobs", lambda jobs, *rest: pytest.fail(f"{len(jobs)} jobs would be trained")
    )
    same(search(copy, *PRUNED)[1], frame)
    less = search(copy, *PRUNED, "tune.n_trials=3")[1]
    same(less, frame[frame["trial"] < 3].reset_index(drop=True))
    asked = []
    monkeypatch.setattr(
        loop, "train_jobs", lambda jobs, *rest: (asked.extend(jobs), train_jobs(jobs, *rest))
    )
    more = search(copy, *PRUNED, "tune.n_trials=8")[1]
    same(more[more["trial"] < 6].reset_index(drop=True), frame)
    assert len(asked) == 4


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_search_interrupted_in_the_middle_of_a_batch_ends_alike(
    whole, tmp_path, monkeypatch, kill_at
):
    _, _, frame = whole
    calls = []

    def interrupted(jobs, *rest):
        calls.append(len(jobs))
        if len(calls) == kill_at + 1:
            train_jobs(jobs[: len(jobs) // 2], *rest)
            raise KeyboardInterrupt
        train_jobs(jobs, *rest)

    monkeypatch.setattr(loop, "train_jobs", interrupted)
    arguments = ["tune", "ahns", *typed(tmp_path, *PRUNED), f"tune.out={tmp_path}"]
    assert main.main(arguments) == 130
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("status.json")}
    assert finished
    monkeypatch.setattr(loop, "train_jobs", train_jobs)
    same(search(tmp_path, *PRUNED)[1], frame)
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items()), (
        "finished runs are left alone"
    )


def test_a_trial_interrupted_between_its_epochs_goes_on_from_its_checkpoint(
    whole, tmp_path, monkeypatch, capsys
):
    _, _, frame = whole
    plain, epochs = EpochLoop.run, []

    def interrupted(self, epoch):
        epochs.append(epoch)
        if len(epochs) == 15:
            raise KeyboardInterrupt
        return plain(self, epoch)

    monkeypatch.setattr(EpochLoop, "run", interrupted)
    overrides = [*PRUNED, "trainer.checkpoint_seconds=0"]
    assert main.main(["tune", "ahns", *typed(tmp_path, *overrides), f"tune.out={tmp_path}"]) == 130
    assert epochs[-1] > 0, "the interruption is meant to be in the middle of a trial"
    capsys.readouterr()
    same(search(tmp_path, *overrides)[1], frame)
    assert f"at epoch {epochs[14]}" in capsys.readouterr().err


def test_a_journal_cut_off_anywhere_gives_the_same_trials(whole, tmp_path, capsys):
    folder, plan, frame = whole
    content = plan.journal.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    journal = copy / "runs" / ".tune" / "ahns.journal"
    cuts = np.random.default_rng(0).choice(ends[:-1], 3, replace=False).tolist()
    for cut in [*cuts, cuts[0] + 5, len(content) - 1]:
        journal.write_bytes(content[:cut])
        same(search(copy, *PRUNED)[1], frame)
        assert ("was cut off and is dropped" in capsys.readouterr().err) == (cut not in ends)


def test_a_journal_that_cannot_be_read_or_is_in_use_is_named(tmp_path, capsys):
    journal = tmp_path / "runs" / ".tune" / "ahns.journal"
    journal.parent.mkdir(parents=True)
    arguments = ["tune", "ahns", *typed(tmp_path, *PRUNED), f"tune.out={tmp_path}"]
    for content in (
        "no journal\n",
        '{"op_code": 77}\n',
        '{"op_code": 4, "worker_id": "a", "trial_id": 9}\n[]\n',
    ):
        journal.write_text(content)
        assert main.main(arguments) == 2
        error = capsys.readouterr().err
        assert (
            f"{journal} cannot be read" in error
            and "move it away" in error
            and error.count("\n") == 1
        )
    with FileLock(journal.with_suffix(".lock")):
        assert main.main(arguments) == 2
    assert "another process is tuning with" in capsys.readouterr().err


def test_who_is_pruned_does_not_depend_on_packs(whole, tmp_path, monkeypatch):
    _, _, frame = whole
    alone = lambda jobs, carry, console: train_jobs(jobs, on_devices(max_trials=1), console)  # noqa: E731
    monkeypatch.setattr(loop, "train_jobs", alone)
    same(search(tmp_path, *PRUNED)[1], frame)
