"""Packs of a sweep: which trials share one, and that packing changes no result."""

import json

import pytest
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from hapens_bench.config.identity import run_id
from hapens_bench.errors import UserError
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import group, shares
from hapens_bench.launch.sweep import launch, on_devices
from tests.conftest import make_config
from tests.launch.sweeps import SMALL, assert_equal, sweep

VARIANTS = [
    [],
    ["trainer.lr=0.01"],
    ["trainer.l2=0.1"],
    ["sampler.alpha=0.3"],
    ["sampler.beta=0.9"],
]


def test_packed_runs_leave_the_folders_that_single_runs_leave(tmp_path):
    returns, packed = sweep(tmp_path / "packed", VARIANTS, "sampler=ahns")
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 5
    _, single = sweep(tmp_path / "single", VARIANTS, "sampler=ahns", max_trials=1)
    assert_equal(packed, single)
    assert [run_id(j.config) for j in packed] == [run_id(j.config) for j in single]
    assert packed[0].folder.read_frame("history")["pack_size"].eq(5).all()
    assert single[0].folder.read_frame("history")["pack_size"].eq(1).all()
    assert sorted(p.name for p in packed[0].folder.path.iterdir()) == sorted(
        p.name for p in single[0].folder.path.iterdir()
    )


def test_what_may_share_a_pack():
    def jobs(*variants):
        return [
            Job(make_config("sampler=ahns", f"seed={k}", *v), []) for k, v in enumerate(variants)
        ]

    same = jobs([], ["trainer.lr=0.1"], ["trainer.l2=0"], ["sampler.alpha=3"], ["sampler.p=-1"])
    assert [len(g) for g in group(same)] == [5]
    for other in (
        "sampler.M=9",
        "model.D=8",
        "trainer.batch_size=7",
        "dataset.users=60",
        "protocol.valid.share=0.2",
    ):
        assert sorted(len(g) for g in group([*same, *jobs([other])])) == [1, 5]
    assert len(group([*same, *(Job(make_config("sampler=dns"), []) for _ in range(2))])) == 2


def test_shares_for_several_devices_are_about_equal_and_longest_first():
    jobs = [
        Job(make_config("sampler=dns", f"sampler.M={M}", f"seed={k}"), [])
        for M in (2, 8)
        for k in range(8)
    ]
    cut = shares(group(jobs), 4)
    assert sorted(
        job.config["seed"] + job.config["sampler"]["M"] * 100 for share in cut for job in share
    ) == sorted(job.config["seed"] + job.config["sampler"]["M"] * 100 for job in jobs)
    assert len(cut) >= 4 and len(cut[0]) <= 5


def test_a_second_sweep_runs_only_missing_jobs_so_an_optimiser_can_ask_in_batches(tmp_path, capsys):
    first, _ = sweep(tmp_path, [[], []])
    # the next batch of an ask/tell sweeper: two known, one new
    second, _ = sweep(tmp_path, [[], [], []])
    assert "3 jobs: 2 done, 1 to run" in capsys.readouterr().out
    values = [r.return_value for r in (*first, *second)]
    assert values[:2] == values[2:4] and all(isinstance(v, float) for v in values)


def test_an_optimiser_sees_the_validation_metric_never_test(tmp_path):
    (returned,), (job,) = sweep(tmp_path, [[]])
    history = job.folder.read_frame("history")
    assert (
        returned.return_value == history["valid/Recall@20"].max() != history["test/Recall@20"].max()
    )
    (blind,), _ = sweep(tmp_path, [["protocol.selection=[test_peak]"]])
    assert blind.status == JobStatus.COMPLETED and blind.return_value is None


def test_the_same_trial_asked_for_twice_is_trained_once(tmp_path):
    base = [*SMALL, f"paths.runs={tmp_path / 'runs'}", f"paths.cache={tmp_path / 'cache'}"]
    returns = launch(
        [["seed=1"], ["seed=1"]],
        lambda these: OmegaConf.create(make_config(*base, *these)),
        on_devices(),
    )
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 2
    assert returns[0].return_value == returns[1].return_value


def test_several_devices_and_a_worker_that_is_killed(tmp_path):
    once = tmp_path / "killed"
    killer = [
        "+logger.killer._target_=tests.launch.killer.Killer",
        f"+logger.killer.once={once}",
        "+logger.killer.epoch=3",
        "+logger.killer.seed=2",
    ]
    variants = [
        ["sampler=rns"],
        ["sampler=rns"],
        ["sampler=dns"],
        ["sampler=dns", "trainer.batch_size=64"],
    ]
    options = {"devices": ["cpu", "cpu"], "max_trials": 2}
    returns, jobs = sweep(tmp_path, variants, *killer, "trainer.checkpoint_seconds=0", **options)
    assert once.exists()
    failed = [k for k, r in enumerate(returns) if r.status != JobStatus.COMPLETED]
    assert failed == [2] and "worker died (exit code -9)" in jobs[2].folder.read_status()["reason"]
    returns, jobs = sweep(tmp_path, variants, *killer, **options)
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    _, alone = sweep(tmp_path / "alone", variants)
    assert_equal(jobs, alone)
    assert json.loads((jobs[0].folder.path / "status.json").read_text())["state"] == "done"


def test_nonsense_for_the_launcher_is_refused(tmp_path):
    with pytest.raises(UserError, match="max_trials is 0"):
        sweep(tmp_path, [[]], max_trials=0)
    with pytest.raises(UserError, match="it takes auto, cpu, cuda or cuda:N"):
        sweep(tmp_path, [[]], devices=["gpu7"])
