"""Trials that need another trial first: which one it is, and that it is trained once and shared."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from hapens_bench.config.identity import run_id
from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.job import Job, load_split
from hapens_bench.launch.packing import group
from hapens_bench.launch.validate import check
from hapens_bench.training.stage import Stage, ranking
from tests.conftest import make_config
from tests.launch.sweeps import assert_equal, sweep

HAPENS = ["sampler=hapens", "sampler.M_max=8", "model.D=8", "trainer.lr=0.01", "tuned=none"]
TRAINED = ["sampler=rns_as", "sampler.M=6", "model.D=8", "trainer.lr=0.01", "tuned=none"]


def folders(tmp_path, sampler="worst_case"):
    return sorted((tmp_path / "runs").glob(f"planted/*/{sampler}/*"))


def stamps(folder: Path):
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}


def test_twenty_trials_train_their_shared_stage_one_once(
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


def test_packed_trials_with_different_stage_ones_have_the_results_they_have_alone(
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
    for folder, twin in zip(mine, theirs, strict=True):
        assert (
            folder.name == twin.name
            and (folder / "hardness.npz").read_bytes() == (twin / "hardness.npz").read_bytes()
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


def test_an_untuned_run_is_not_shown_as_the_tuned_one_whose_file_is_missing(
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
    """The model that it left has its test metrics; trial and generator start with equal scores."""
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
        assert result.mean() | result.overall == pytest.approx(reported, abs=1e-6, nan_ok=True)


def test_trials_share_a_trained_start_and_have_the_results_they_have_alone(
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
