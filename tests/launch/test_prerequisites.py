"""Trials that need another trial first: trained once, resumed between and inside, and failing in
words.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from hapens_bench.config.identity import run_id
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.job import Job, load_split
from hapens_bench.launch.packing import group
from hapens_bench.launch.sweep import run_single
from hapens_bench.launch.validate import check
from hapens_bench.training.stage import Stage, ranking
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.launch.test_pack import SMALL, assert_equal, sweep

HAPENS = ["sampler=hapens", "sampler.M_max=8", "model.D=8", "trainer.lr=0.01", "tuned=none"]
TRAINED = ["sampler=rns_as", "sampler.M=6", "model.D=8", "trainer.lr=0.01", "tuned=none"]
BOTH = pytest.mark.parametrize("what, left", [(HAPENS, "hardness"), (TRAINED, "model")])


def folders(tmp_path, sampler="worst_case"):
    return sorted((tmp_path / "runs").glob(f"planted/*/{sampler}/*"))


def stamps(folder: Path):
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}


def test_twenty_trials_that_share_a_stage_one_train_it_once_across_packs_workers_and_sweeps(
    tmp_path,
):
    variants = [[f"sampler.reading={r}", f"sampler.M_max={M}"] for r in "ABCDE" for M in (4, 8)]
    variants += [["sampler.shuffle=true", f"sampler.reading={r}"] for r in "ABCDE"]
    variants += [["sampler.level=q10", f"trainer.patience={k}"] for k in range(1, 6)]
    variants = [["seed=3", *v, "+sampler.first.worst_case.trainer.patience=7"] for v in variants]
    small = [*HAPENS, "trainer.epochs=2", "protocol.selection=[valid]"]
    first, jobs = sweep(tmp_path, variants[:8], *small)
    (stage_one,) = folders(tmp_path)
    written = stamps(stage_one)
    assert {"hardness.npz", "status.json", "summary.json"} <= set(written)
    rest, more = sweep(tmp_path, variants, *small, devices=["cpu", "cpu"], max_trials=3)
    assert [r.status for r in (*first, *rest)] == [JobStatus.COMPLETED] * 28
    assert folders(tmp_path) == [stage_one] and stamps(stage_one) == written
    assert len(folders(tmp_path, "hapens")) == len({job.folder.path for job in more}) == 20
    status = json.loads((stage_one / "status.json").read_text())
    assert status["time"] <= min(job.folder.read_status()["time"] for job in jobs)


def test_trials_with_different_stage_ones_share_a_pack_and_each_has_the_result_that_it_has_alone(
    tmp_path,
):
    variants = [
        [],
        ["sampler.shuffle=true"],
        ["sampler.first.worst_case.loss.eta=1"],
        ["sampler.M=3"],
        ["trainer.l2=0.1"],
    ]
    returns, packed = sweep(tmp_path / "packed", variants, *HAPENS)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 5
    assert packed[0].folder.read_frame("history")["pack_size"].eq(5).all()
    assert len(folders(tmp_path / "packed")) == 4
    _, alone = sweep(tmp_path / "alone", variants, *HAPENS, max_trials=1)
    assert_equal(packed, alone)
    mine, theirs = (folders(tmp_path / name) for name in ("packed", "alone"))
    for one, other in zip(mine, theirs, strict=True):
        assert (
            one.name == other.name
            and (one / "hardness.npz").read_bytes() == (other / "hardness.npz").read_bytes()
        )
    levels = [
        dict(np.load(job.prerequisite.folder.path / "hardness.npz"))
        for job in packed
        if job.prerequisite
    ]
    assert len({level["min"].tobytes() for level in levels}) == 4, (
        "seeds, eta and l2 each have levels of their own"
    )


def test_a_group_ignores_stage_one_but_not_the_reading():
    def job(*overrides):
        return Job(make_config("sampler=hapens", *overrides), [])

    same = [
        job(),
        job("seed=1"),
        job("sampler.level=q10"),
        job("sampler.M=2"),
        job("+sampler.first.plain.trainer.lr=1"),
    ]
    assert [len(g) for g in group(same)] == [5]
    assert sorted(len(g) for g in group([*same, job("sampler.reading=C")])) == [1, 5]


def test_stage_one_is_the_same_data_model_seed_and_trainer_but_for_what_first_says(tmp_path):
    job = Job(
        make_config(
            "sampler=hapens",
            "seed=4",
            "model=gmf",
            "trainer.l2=0.3",
            "resume=force",
            "sampler.first.worst_case.trainer.batch_size=7",
            "+sampler.first.worst_case.trainer.epochs=3",
        ),
        [],
    )
    config = job.prerequisite.config
    assert (config["seed"], config["model"], config["dataset"]) == (
        4,
        job.config["model"],
        job.config["dataset"],
    )
    assert config["trainer"] == {
        **job.config["trainer"],
        "batch_size": 7,
        "epochs": 3,
        "l2": 0.2,
        "user_hardness": True,
        "best_model": False,
    }
    assert (config["sampler"]["name"], config["loss"]["name"]) == ("worst_case", "worst_case")
    assert config["protocol"]["selection"] == ["valid"] and config["resume"] == "auto"
    plain = Job(make_config("sampler=hapens", "sampler.reading=F"), []).prerequisite.config
    assert (plain["sampler"]["name"], plain["loss"]["name"]) == ("rns", "bpr")
    assert Job(make_config("sampler=hapens", "sampler.M=3"), []).prerequisite is None


def test_the_stage_one_of_a_tuned_trial_needs_no_tuned_file_of_its_own():
    job = Job(make_config("dataset=tools", "sampler=hapens", "tuned=equal"), [])
    check(job.config)
    check(job.prerequisite.config)
    tuned = OmegaConf.load(conf_dir() / "tuned" / "equal" / "tools-mf-hapens.yaml")
    assert (
        job.prerequisite.config["trainer"]["l2"] == tuned.sampler.first.worst_case.trainer.l2 != 0.2
    )


def test_a_finished_run_of_untuned_settings_is_not_shown_as_the_tuned_one_whose_file_is_missing(
    tmp_path,
):
    _, [job] = sweep(tmp_path, [["sampler.M=3"]], *HAPENS)
    assert job.is_done()
    tuned = Job({**job.config, "tuned": {"name": "equal", "required": True}}, [])
    assert tuned.folder.path == job.folder.path and not tuned.is_done()


@pytest.mark.parametrize("model", ["gmf", "lightgcn", "ngcf"])
@pytest.mark.parametrize("reading", ["A", "F"])
def test_every_model_goes_through_both_stages(tmp_path, model, reading):
    returns, (job,) = sweep(
        tmp_path, [[]], *HAPENS, f"model={model}", f"sampler.reading={reading}", "trainer.epochs=3"
    )
    assert returns[0].status == JobStatus.COMPLETED
    assert job.prerequisite.folder.read_arrays("hardness")["min"].shape == (80,)


@pytest.mark.parametrize("model", ["mf", "gmf", "lightgcn", "ngcf"])
@pytest.mark.parametrize("sampler", ["irgan", "rns_as", "advir"])
def test_both_models_start_from_the_one_that_the_first_training_chose(tmp_path, model, sampler):
    """What it left gives its own test metrics; a trial starts with it, and its generator with the
    same scores.
    """
    overrides = [
        *TRAINED,
        f"sampler={sampler}",
        "sampler.start=trained",
        f"model={model}",
        "trainer.epochs=6",
    ]
    _, jobs = sweep(tmp_path, [["seed=1"], ["seed=2"]], *overrides)
    assert all(job.is_done() for job in jobs)
    split = load_split(jobs[0].config)
    stage = Stage("held", jobs[0].config, split, torch.device("cpu"))
    pack = stage.pack([job.config for job in jobs])
    with torch.no_grad():
        encoded, generator = pack.model.encode(), pack.sampler.generator
    scores = [
        users @ items.mT
        for users, items in ((encoded.queries, encoded.items), (generator.user, generator.item))
    ]
    assert torch.allclose(*scores, atol=1e-5)
    judged = ranking(jobs[0].config, split, torch.device("cpu")).evaluate(
        encoded.queries, encoded.items
    )
    for job, result in zip(jobs, judged, strict=True):
        assert job.prerequisite.config["sampler"]["name"] == "rns"
        reported = job.prerequisite.folder.read_summary()["selection"]["valid"]["test"]
        assert result.mean() == pytest.approx(reported, abs=1e-6)


def test_trials_that_start_from_a_trained_model_share_it_and_have_the_results_that_they_have_alone(
    tmp_path,
):
    variants = [
        [f"sampler={sampler}", "sampler.start=trained", "sampler.M=6", f"seed={seed}"]
        for sampler in ("irgan", "rns_as")
        for seed in (1, 2)
    ]
    returns, packed = sweep(tmp_path / "packed", variants, *TRAINED[2:])
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 4 and len(
        folders(tmp_path / "packed", "rns")
    ) == 2
    _, alone = sweep(tmp_path / "alone", variants, *TRAINED[2:], max_trials=1)
    assert_equal(packed, alone)


def test_a_trial_that_starts_from_scratch_needs_nothing_first_and_keeps_its_id(tmp_path):
    config = make_config("dataset=tools", "sampler=irgan")
    assert Job(config, []).prerequisite is None and run_id(config) == "304951ee3a6d"
    assert run_id(
        make_config("dataset=tools", "sampler=irgan", "+sampler.first.trainer.epochs=3")
    ) == run_id(config)
    other = make_config("dataset=tools", "sampler=irgan", "sampler.start=trained")
    assert (
        run_id(other)
        != run_id(config)
        != run_id({**other, "sampler": {**other["sampler"], "first": {}}})
    )


class Stop(BaseException):
    pass


@BOTH
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_kill_between_and_inside_stages_changes_nothing(tmp_path, stop, monkeypatch, what, left):
    """Checkpoints of stage one: after epochs 0, 2, 4, 5; then those of stage two."""
    often = [*what, "trainer.checkpoint_seconds=0"]
    _, whole = sweep(tmp_path / "whole", [[], []], *often)
    saved, count = Trial.save, iter(range(1000))

    def save(self, state):
        saved(self, state)
        if next(count) == 2 * stop + 1:  # two trials save one after the other
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
    for one, other in zip(again, whole, strict=True):
        mine, theirs = (
            (job.prerequisite.folder.path / f"{left}.npz").read_bytes() for job in (one, other)
        )
        assert mine == theirs


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler=worst_case", "trainer.user_hardness=true"],
        ["sampler=rns", "trainer.best_model=true"],
    ],
)
def test_the_file_is_of_the_epoch_that_validation_chose(tmp_path, overrides):
    def left(name, epochs):
        """Train to an epoch, and no further."""
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

    found, best, summary = left("long", 30)
    assert 0 < best < 29
    expected, last, _ = left("short", best + 1)
    assert ("validation" in found) == ("worst_case" in overrides[0])
    if "validation" in found:
        assert np.isclose(np.nanmean(found["validation"]), summary["validation"])
    assert last == best and all(
        np.array_equal(found[name], expected[name], equal_nan=True) for name in found
    )


def test_a_stage_one_that_fails_fails_what_needs_it_in_words(tmp_path, capsys):
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


def test_what_stage_one_cannot_be_is_told_before_anything_is_trained(tmp_path):
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
        with pytest.raises(UserError, match=f"trainer.{key} is of the epoch of selection valid"):
            sweep(tmp_path, [[]], f"trainer.{key}=true", "protocol.selection=[test_peak]")
    with pytest.raises(
        UserError, match=r"sampler.first is .*, but it takes the sections sampler, loss and trainer"
    ):
        sweep(tmp_path, [[]], "sampler=irgan", "~sampler.first.sampler")
