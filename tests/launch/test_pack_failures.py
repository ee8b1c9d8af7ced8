"""Failures in a pack: kills, errors, too little memory, a full disk."""

import errno
import itertools

import pytest
import torch
from hydra.core.utils import JobStatus

from hapens_bench.runs.files import Files
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.pack import Pack
from tests.launch.sweeps import assert_equal, sweep


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("three"), [[]] * 3)[1]


def test_a_failing_trial_leaves_its_pack_and_is_reported(tmp_path, capsys):
    returns, jobs = sweep(tmp_path, [[], ["trainer.lr=1e38"], []])
    assert [r.status for r in returns] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    assert "the loss is" in jobs[1].folder.read_status()["reason"]
    printed = capsys.readouterr().out
    assert "1 of 3 jobs are not done" in printed and "trainer.lr=1e38" in printed
    with pytest.raises(Exception, match="the loss is"):
        _ = returns[1].return_value
    _, alone = sweep(tmp_path / "alone", [[], [], []])
    assert_equal([jobs[0], jobs[2]], [alone[0], alone[2]])


def test_a_pack_killed_before_writing_its_results_writes_them_when_resumed(
    three, tmp_path, monkeypatch
):
    def killed(trial, split, device):
        raise KeyboardInterrupt

    monkeypatch.setattr("hapens_bench.launch.run.finish", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path / "killed", [[]] * 3)
    monkeypatch.undo()
    returns, jobs = sweep(tmp_path / "killed", [[]] * 3)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 3
    assert_equal(jobs, three)


@pytest.mark.parametrize("after", [0, 5, 23])
def test_out_of_memory_halves_the_pack_and_loses_no_finished_epoch(
    tmp_path, monkeypatch, after, capsys
):
    _, whole = sweep(tmp_path / "whole", [[]] * 5)
    plain, steps = Pack.step, []

    def step(self, batch, positives):
        if self.size > 2 and len(steps) >= after:
            raise torch.OutOfMemoryError("no room")
        steps.append((self.size, int(batch.step)))
        return plain(self, batch, positives)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(Pack, "step", step)
    returns, jobs = sweep(tmp_path / "tight", [[]] * 5)
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(jobs, whole)
    assert (
        "a pack of 5 trials broke (OutOfMemoryError: no room); continuing with packs of 3"
        in capsys.readouterr().err
    )
    if after == 23:  # two epochs of eight steps were finished together: they are not trained again
        assert next(step for size, step in steps if size <= 2) == 16


def test_out_of_memory_in_a_rebuilt_pack_continues_from_the_last_finished_epoch(
    tmp_path, monkeypatch
):
    # the first fails in its first epoch, and the pack is rebuilt for the others
    variants = [["trainer.lr=1e38"], [], []]
    _, whole = sweep(tmp_path / "whole", variants)
    plain, begun = EpochLoop.__init__, []

    def set_up(self, pack, *rest):
        begun.append(pack.size)
        if pack.size == 2:
            raise torch.OutOfMemoryError("no room")
        plain(self, pack, *rest)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(EpochLoop, "__init__", set_up)
    returns, jobs = sweep(tmp_path / "tight", variants)
    assert begun[:3] == [3, 2, 1]
    assert [r.status == JobStatus.COMPLETED for r in returns] == [False, True, True]
    assert_equal(jobs[1:], whole[1:])


@pytest.mark.parametrize("full", [1, 2, 3, 100])  # failing writes before there is room again
@pytest.mark.parametrize("room", range(6, 42, 4))
def test_a_full_disk_costs_nothing_that_was_finished(three, tmp_path, monkeypatch, room, full):
    plain, writes = Files._write, itertools.count()

    def write(self, name, content):
        if room <= next(writes) < room + full:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(self, name, content)

    monkeypatch.setattr(Files, "_write", write)
    returns, _ = sweep(tmp_path / "full", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert not all(r.status == JobStatus.COMPLETED for r in returns)
    monkeypatch.undo()
    returns, jobs = sweep(tmp_path / "full", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(jobs, three)


def test_an_error_in_a_pack_costs_only_the_trial_that_brings_it_about(tmp_path, monkeypatch):
    plain = Pack.__init__

    def build(self, configs, *rest):
        if any(config["seed"] == 3 for config in configs):
            raise ValueError("seed 3 is cursed")
        plain(self, configs, *rest)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(Pack, "__init__", build)
    returns, jobs = sweep(tmp_path, [[]] * 6)
    assert [r.status == JobStatus.COMPLETED for r in returns] == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    assert jobs[3].folder.read_status()["reason"] == "ValueError: seed 3 is cursed"


def test_trials_at_different_epochs_each_resume_at_their_own(three, tmp_path, monkeypatch):
    class Stop(BaseException):
        pass

    from hapens_bench.training.trial import Trial

    saved, count = Trial.save, iter(range(100))

    def save(self, state):
        saved(self, state)
        # the first trial's second checkpoint; the others still have their first
        if next(count) == 3:
            raise Stop

    monkeypatch.setattr(Trial, "save", save)
    with pytest.raises(Stop):
        sweep(tmp_path / "cut", [[]] * 3, "trainer.checkpoint_seconds=0")
    monkeypatch.setattr(Trial, "save", saved)
    returns, again = sweep(tmp_path / "cut", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(again, three)
