"""SLURM, Ray and Hydra's own launchers: the same results as packs on this machine.

And nothing brings a sweep down.
"""

import contextlib
import os
import re
import signal
import sys

import pytest
from hydra.core.utils import JobStatus
from hydra.errors import MissingConfigException

from hapens_bench.cli.errors import sentence
from hapens_bench.errors import UserError
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import group, shares
from hapens_bench.launch.ray import on_ray
from hapens_bench.launch.slurm import on_slurm
from hapens_bench.launch.sweep import on_devices
from tests.commands import hapens
from tests.conftest import make_config
from tests.launch import fake_slurm
from tests.launch.sweeps import SMALL, assert_equal, sweep

HAPENS = ["sampler=hapens", "sampler.M_max=8", "sampler.M=null"]
VARIANTS = [["sampler=rns"], ["sampler=rns"], ["sampler=dns"], ["sampler=dns"], HAPENS, HAPENS]
SETTING = ["model.D=8", "trainer.threads=1", "tuned=none", "trainer.checkpoint_seconds=0"]


def killer(once, epoch, seed, number):
    values = {
        "_target_": "tests.launch.killer.Killer",
        "once": once,
        "epoch": epoch,
        "seed": seed,
        "signal": int(number),
    }
    return [f"+logger.killer.{key}={value}" for key, value in values.items()]


def slurm(tmp_path, **settings):
    given = {
        "cluster": "local",
        "packs": 2,
        "max_trials": None,
        "max_requeues": 3,
        "timeout_min": 10,
        **settings,
    }
    return on_slurm(folder=str(tmp_path / "submitit" / "%j"), **given)


@contextlib.contextmanager
def carrier(name, tmp_path):
    if name == "slurm":
        yield slurm(tmp_path)
    else:
        with on_ray(None, 1, None, None) as carry:
            yield carry


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    _, jobs = sweep(
        tmp_path_factory.mktemp("alone"), VARIANTS, *SETTING, carry=on_devices(max_trials=1)
    )
    return jobs


# each of the last two needs another trial first
@pytest.mark.parametrize(("name", "n"), [("slurm", 4), ("ray", 6)])
def test_a_crash_is_reported_other_packs_finish_and_another_launcher_continues(
    name, n, tmp_path, alone, capsys
):
    dying = killer(tmp_path / "once", 2, 2, signal.SIGKILL)
    with carrier(name, tmp_path) as carry:
        returns, jobs = sweep(tmp_path, VARIANTS[:n], *SETTING, *dying, carry=carry)
    failed = [k for k, r in enumerate(returns) if r.status != JobStatus.COMPLETED]
    assert 2 in failed and set(failed) <= {2, 3}, "its pack-mate at most"
    assert ("array element" if name == "slurm" else "Ray task") in jobs[2].folder.read_status()[
        "reason"
    ]
    printed = capsys.readouterr().out
    assert f"{len(failed)} of {n} jobs are not done" in printed
    assert ("need 2 other trials first" in printed) == (n == 6)
    returns, jobs = sweep(tmp_path, VARIANTS[:n], *SETTING, *dying)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * n
    assert_equal(jobs, alone[:n])


def test_slurm_gets_an_array_job_whose_elements_go_back_to_the_queue(tmp_path, alone, monkeypatch):
    fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    settings = {
        "cluster": "slurm",
        "gpus_per_node": 1,
        "partition": "gpu",
        "signal_delay_s": 90,
        "array_parallelism": 2,
    }
    carry = slurm(
        tmp_path,
        **settings,
        mem_gb=8,
        setup=["export FROM_SETUP=1"],
        additional_parameters={"requeue": True},
    )
    asked = killer(tmp_path / "once", 3, 1, signal.SIGUSR2)
    returns, jobs = sweep(tmp_path, VARIANTS[:2], *SETTING, *asked, "resume=force", carry=carry)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 2 and (tmp_path / "once").exists()
    assert_equal(jobs, alone[:2])
    (script,) = (tmp_path / "submitit").rglob("kept.sh")
    lines = script.read_text().splitlines()
    expected = [
        "array=0-1%2",
        "requeue",
        "gpus-per-node=1",
        "partition=gpu",
        "signal=USR2@90",
        "mem=8GB",
        "time=10",
    ]
    assert {f"#SBATCH --{flag}" for flag in expected} <= set(
        lines
    ) and "export FROM_SETUP=1" in lines
    logs = "".join(path.read_text() for path in (tmp_path / "submitit").rglob("*_log.*"))
    assert logs.count("Requeued job") == 1 and "continuing" in logs, (
        "from its checkpoint, resume=force or not"
    )


@pytest.mark.parametrize("name", ["joblib", pytest.param("basic", marks=pytest.mark.slow)])
def test_hydras_own_launchers_train_job_by_job_and_wait_for_a_shared_stage_one(
    name, tmp_path, alone
):
    """Both stage twos have the same stage one; the second waits for the job that trains it."""
    settings = ["hydra.launcher.n_jobs=2"] if name == "joblib" else []
    jobs = ["sampler.reading=A,D", "seed=4"]
    done = hapens(
        tmp_path,
        "train",
        "-m",
        *SMALL,
        *SETTING,
        *HAPENS,
        *jobs,
        f"hydra/launcher={name}",
        *settings,
    )
    assert done.returncode == 0, done.stderr
    config = make_config(*SMALL, *SETTING, *HAPENS, "seed=4", f"paths.runs={tmp_path}/runs")
    assert_equal([Job(config, [])], alone[4:5])
    assert done.stdout.count("mean ± standard deviation") == 1, "one table for all jobs"
    assert done.stdout.count("reading=A") == done.stdout.count("reading=D") > 0
    assert len(list(tmp_path.glob("runs/planted/mf/worst_case/*/summary.json"))) == 1


def test_hydras_own_launchers_check_all_jobs_first_and_list_failures_at_the_end(tmp_path):
    launcher = ["hydra/launcher=basic", "logger=trackio"]
    refused = hapens(tmp_path, "train", "-m", *SMALL, *launcher, "sampler=dns", "sampler.M=2,0")
    assert refused.returncode == 2 and "sampler.M is 0" in refused.stderr
    assert not list(tmp_path.glob("runs/planted"))
    done = hapens(tmp_path, "train", "-m", *SMALL, *launcher, "seed=0,1", "trainer.lr=1e-3,1e38")
    assert done.returncode == 1
    assert "2 of 4 jobs are not done; to run them again:" in done.stdout
    table = done.stdout.partition("mean ± standard deviation")[2]
    assert " 2 " in next(line for line in table.splitlines() if "test_peak" in line), "both seeds"
    configs = [path.read_text() for path in tmp_path.glob("runs/planted/mf/rns/*/config.yaml")]
    sweeps = {text.partition("sweep:")[2] for text in configs}
    assert len(configs) == 4 and len(sweeps) == 1 and "- trainer.lr" in sweeps.pop()


@pytest.mark.slow
def test_twelve_trials_have_the_same_bits_through_every_launcher(tmp_path):
    ways = {
        "basic": [],
        "joblib": ["hydra.launcher.n_jobs=2"],
        "pack": [],
        "slurm": ["hydra.launcher.cluster=local", "hydra.launcher.packs=3"],
        "ray": ["hydra.launcher.num_cpus=1"],
    }
    sweeps = ["sampler=rns,dns", "trainer.lr=0.001,0.01", "seed=range(3)"]
    jobs = {}
    for name, settings in ways.items():
        (tmp_path / name).mkdir()
        done = hapens(
            tmp_path / name,
            "train",
            "-m",
            *SMALL,
            *SETTING,
            *sweeps,
            f"hydra/launcher={name}",
            *settings,
        )
        assert done.returncode == 0, done.stderr
        variants = [
            [f"sampler={s}", f"trainer.lr={lr}", f"seed={k}"]
            for s in ("rns", "dns")
            for lr in (0.001, 0.01)
            for k in range(3)
        ]
        runs = f"paths.runs={tmp_path / name / 'runs'}"
        jobs[name] = [Job(make_config(*SMALL, *SETTING, *v, runs), []) for v in variants]
    for name in ways:
        assert_equal(jobs[name], jobs["pack"])


def test_shares_have_no_more_jobs_than_a_pack_may_have():
    jobs = [Job(make_config("sampler=dns", f"seed={k}"), []) for k in range(7)]
    assert sorted(len(share) for share in shares(group(jobs), 1, 3)) == [1, 3, 3]
    assert [len(share) for share in shares(group(jobs), 1)] == [7]


def test_a_missing_package_is_one_sentence_that_names_the_extra(monkeypatch, tmp_path):
    for package, call in (
        ("submitit", lambda: slurm(tmp_path)),
        ("ray", lambda: on_ray(None, 1, None, None).__enter__()),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        extra = {"submitit": "slurm"}.get(package, package)
        with pytest.raises(UserError, match=re.escape(f"pip install 'hapens_bench[{extra}]'")):
            call()
    missing = MissingConfigException("", "hydra/launcher/joblib", ["basic", "pack"])
    assert sentence(missing).endswith("pip install 'hapens_bench[joblib]' brings it")


def test_a_missing_package_ends_a_sweep_before_any_training(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "submitit.py").write_text("raise ImportError('not here')\n")
    paths = os.pathsep.join(
        [str(tmp_path / "without"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    done = hapens(tmp_path, "train", "-m", "seed=0,1", "hydra/launcher=slurm", PYTHONPATH=paths)
    assert done.returncode == 2 and not list(tmp_path.glob("runs/planted"))
    assert (
        done.stderr.startswith("error: hydra/launcher=slurm needs submitit")
        and done.stderr.count("\n") == 1
    )


def test_what_a_cluster_cannot_give_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"hydra\.launcher\.cluster=local runs the same on this machine"
    ):
        slurm(tmp_path, cluster="slurm")
    with pytest.raises(UserError, match="any executor named pbs"):
        slurm(tmp_path, cluster="pbs")
    with pytest.raises(UserError, match="max_trials is 0"):
        slurm(tmp_path, max_trials=0)
