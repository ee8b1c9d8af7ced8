"""Trials that need another trial first: kills, damaged files and failures in either."""

import numpy as np
import pytest
from hydra.core.utils import JobStatus

from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.job import Job
from hapens_bench.launch.sweep import run_single
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.launch.sweeps import SMALL, assert_equal, sweep
from tests.launch.test_prerequisites import HAPENS, TRAINED, folders, stamps

BOTH = pytest.mark.parametrize("what, left", [(HAPENS, "hardness"), (TRAINED, "model")])


class Stop(BaseException):
    pass


@BOTH
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_kill_between_and_inside_stages_changes_nothing(tmp_path, stop, monkeypatch, what, left):
    """Stage one has checkpoints after epochs 0, 2, 4 and 5; then come those of stage two."""
    often = [*what, "trainer.checkpoint_seconds=0"]
    _, whole = sweep(tmp_path / "whole", [[], []], *often)
    saved, count = Trial.save, iter(range(1000))

    def save(self, state):
        saved(self, state)
        if next(count) == 2 * stop + 1:  # the two trials save one after the other
            raise Stop

    monkeypatch.setattr(Trial, "save", save)
    with pytest.raises(Stop):
        sweep(tmp_path / "cut", [[], []], *often)
    monkeypatch.setattr(Trial, "save", saved)
    first, second = (job.config["sampler"]["name"] for job in (whole[0].prerequisite, whole[0]))
    assert len(folders(tmp_path / "cut", first)) == 2
    assert len(folders(tmp_path / "cut", second)) == (2 if stop > 3 else 0)
    returns, again = sweep(tmp_path / "cut", [[], []], *often)
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(again, whole)
    for job, twin in zip(again, whole, strict=True):
        mine, theirs = (
            (run.prerequisite.folder.path / f"{left}.npz").read_bytes() for run in (job, twin)
        )
        assert mine == theirs


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler=worst_case", "trainer.user_hardness=true"],
        ["sampler=rns", "trainer.best_model=true"],
    ],
)
def test_the_file_is_saved_at_the_epoch_that_validation_chose(tmp_path, overrides):
    def left(name, epochs):
        """Train for some epochs; return the arrays left, the chosen epoch and the summary."""
        _, (job,) = sweep(
            tmp_path / name,
            [[]],
            *overrides,
            "protocol.selection=[valid]",
            "trainer.batch_size=20",
            "model.D=8",
            "trainer.lr=0.05",
            f"trainer.epochs={epochs}",
            "trainer.eval_every=1",
        )
        summary = job.folder.read_summary()
        name = "hardness" if "worst_case" in overrides[0] else "model"
        return job.folder.read_arrays(name), summary["selection"]["valid"]["epoch"], summary

    arrays, best, summary = left("long", 30)
    assert 0 < best < 29
    expected, last, _ = left("short", best + 1)
    assert ("validation" in arrays) == ("worst_case" in overrides[0])
    if "validation" in arrays:
        assert np.isclose(np.nanmean(arrays["validation"]), summary["validation"])
    assert last == best and all(
        np.array_equal(arrays[name], expected[name], equal_nan=True) for name in arrays
    )


def test_a_failed_stage_one_fails_the_trials_that_need_it_and_says_why(tmp_path, capsys):
    variants = [["+sampler.first.worst_case.trainer.lr=1e38"], [], ["sampler.M=2"]]
    returns, jobs = sweep(tmp_path, variants, *HAPENS)
    assert [r.status for r in returns] == [
        JobStatus.FAILED,
        JobStatus.COMPLETED,
        JobStatus.COMPLETED,
    ]
    status = jobs[0].folder.read_status()
    needed = jobs[0].prerequisite.folder
    assert status["state"] == "failed" and status["reason"].startswith(
        f"it needs {needed.path}, which failed: the loss is"
    )
    assert jobs[0].folder.read_config()["seed"] == 0 and needed.read_status()["state"] == "failed"
    assert "1 of 3 jobs are not done" in capsys.readouterr().out
    config = make_config(
        *SMALL, *HAPENS, *variants[0], f"paths.runs={tmp_path}/one", f"paths.cache={tmp_path}/cache"
    )
    with pytest.raises(TrialFailed, match="which failed: the loss is"):
        run_single(config, [])


def test_a_stage_one_that_another_process_trains_is_left_to_it(tmp_path):
    base = [*SMALL, f"paths.runs={tmp_path / 'runs'}", f"paths.cache={tmp_path / 'cache'}", *HAPENS]
    job = Job(make_config(*base, "seed=0"), [])
    with job.prerequisite.folder.lock():
        (result,), _ = sweep(tmp_path, [[]], *HAPENS)
    assert result.status == JobStatus.FAILED and not job.folder.path.exists()
    with pytest.raises(TrialFailed, match="another process is training it"):
        _ = result.return_value


@BOTH
def test_a_damaged_artefact_is_made_again_and_force_leaves_a_good_one_alone(tmp_path, what, left):
    small = [*what, "trainer.epochs=2"]
    _, (job,) = sweep(tmp_path, [[]], *small, "trainer.keep_checkpoint=true")
    folder = job.prerequisite.folder.path
    whole, written = (folder / f"{left}.npz").read_bytes(), stamps(folder)
    sweep(tmp_path, [[]], *small, "resume=force")
    assert stamps(folder) == written
    (folder / f"{left}.npz").write_bytes(whole[:100])
    (again,), _ = sweep(
        tmp_path, [["sampler.reading=D" if what is HAPENS else "sampler.M=4"]], *small
    )
    assert again.status == JobStatus.COMPLETED and (folder / f"{left}.npz").read_bytes() == whole


def test_a_single_run_trains_its_stage_one_too(tmp_path, capsys):
    config = make_config(
        *SMALL, *HAPENS, f"paths.runs={tmp_path}/runs", f"paths.cache={tmp_path}/cache"
    )
    value = run_single(config, [])
    assert isinstance(value, float) and len(folders(tmp_path)) == 1
    written = stamps(folders(tmp_path)[0])
    assert run_single(config, []) == value and stamps(folders(tmp_path)[0]) == written
    (returns,), _ = sweep(tmp_path, [[]], *HAPENS)
    assert returns.return_value == value, "a sweep finds what a single run left"


def test_an_impossible_stage_one_is_refused_before_any_training(tmp_path):
    for override, message in (
        ("+sampler.first.worst_case.trainer.foo=1", "there is no key trainer.foo"),
        ("sampler.first.worst_case.loss.eta=0", "loss.eta is 0, but it takes a number above 0"),
        ("sampler.first.worst_case.sampler.K=400", "sampler.K is 400, but planted has 300 items"),
    ):
        with pytest.raises(
            UserError, match="what sampler=hapens needs first cannot be trained"
        ) as caught:
            sweep(tmp_path, [[]], *HAPENS, override)
        assert message in str(caught.value) and not folders(tmp_path)
    for key in ("user_hardness", "best_model"):
        with pytest.raises(
            UserError, match=f"trainer.{key} is saved at the epoch chosen by `valid`"
        ):
            sweep(tmp_path, [[]], f"trainer.{key}=true", "protocol.selection=[test_peak]")
    with pytest.raises(
        UserError, match=r"sampler.first is .*, but it takes the sections sampler, loss and trainer"
    ):
        sweep(tmp_path, [[]], "sampler=irgan", "~sampler.first.sampler")
