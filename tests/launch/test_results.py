"""What a sweep prints at its end."""

import math

import pytest

from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.job import Job, check_against_data, load_split
from hapens_bench.launch.results import show_failures, show_results
from hapens_bench.launch.sweep import launch, on_devices
from hapens_bench.launch.validate import check
from hapens_bench.tracking.screen import NOT_CONVERGED, screen
from tests.conftest import make_config
from tests.launch.sweeps import SMALL, sweep


class Folder:
    """A finished run with one metric per name, best in its last epoch or not."""

    def __init__(self, seed, converged, **test):
        self.summary = {"dataset": "planted", "model": "mf", "sampler": "rns", "seed": seed}
        report = {"epoch": 4, "converged": converged, "test": test}
        self.summary["selection"] = {"valid": report}

    def read_summary(self):
        return self.summary


def job(seed, converged=True, before=False, metrics="[Recall@20,NDCG@20]", **test):
    monitor = metrics.strip("[]").split(",")[0]
    overrides = [f"seed={seed}", f"protocol.metrics={metrics}", f"protocol.monitor={monitor}"]
    made = Job(make_config(*overrides), overrides, state="done", before=before)
    made.folder = Folder(seed, converged, **test)
    return made


def shown(capsys, *jobs):
    show_results(jobs, screen())
    out = capsys.readouterr().out
    return [line.split() for line in out.splitlines() if line.startswith(" rns")], out


def test_a_metric_that_was_not_measured_is_a_dash(capsys):
    few = job(0, metrics="[Recall@20]", **{"Recall@20": 0.5})
    both = job(0, **{"Recall@20": 0.5, "NDCG@20": 0.25})
    rows, out = shown(capsys, few, both)
    assert "nan" not in out
    assert [row[-3:] for row in rows] == [["50.00", "–", "4"], ["50.00", "25.00", "4"]]


@pytest.mark.parametrize("converged", [True, False])
def test_a_run_that_has_not_converged_is_marked_and_the_mark_explained(capsys, converged):
    values = {"Recall@20": 0.5, "NDCG@20": 0.25}
    rows, out = shown(capsys, job(0, **values), job(1, converged=converged, **values))
    assert (rows[0][-1] == "!") == (NOT_CONVERGED in out) == (not converged)


@pytest.mark.parametrize(
    ("before", "words"),
    [((), ""), ((0, 1), "already done"), ((1,), "1 of 2 already done")],
)
def test_runs_that_were_done_say_so(capsys, before, words):
    values = {"Recall@20": 0.5, "NDCG@20": 0.25}
    rows, _ = shown(capsys, *(job(seed, before=seed in before, **values) for seed in (0, 1)))
    assert " ".join(rows[0]).partition(" 4")[2].strip() == words


def test_the_same_trial_counts_once_and_every_job_returns(tmp_path, capsys):
    variants = [["seed=0"], ["seed=0", "trainer.threads=1"], ["seed=1"], ["seed=0"]]
    returns, jobs = sweep(tmp_path, variants, "trainer.lr=0.001", "tuned=none")
    out = capsys.readouterr().out
    assert "2 of 4 jobs are the same trial as another; each trial is trained" in out
    assert "2 jobs: 0 done, 2 to run" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(" rns")]
    assert rows and all("2" in row for row in rows) and "± 0.00 " not in out
    assert len(returns) == 4 and len({job.folder.path for job in jobs}) == 2
    assert returns[0].return_value == returns[1].return_value == returns[3].return_value
    assert math.isfinite(returns[2].return_value)


def test_a_failed_trial_that_was_asked_for_twice_is_listed_once(tmp_path, capsys):
    returns, _ = sweep(tmp_path, [["seed=0"], ["seed=0"]], "trainer.lr=1e38")
    out = capsys.readouterr().out
    assert "1 of 1 jobs are not done" in out and out.count("the loss is") == 1
    assert [r.status.name for r in returns] == ["FAILED", "FAILED"]


def test_a_refused_job_of_a_sweep_is_named(tmp_path):
    from omegaconf import OmegaConf

    from hapens_bench.errors import UserError

    base = [*SMALL, f"paths.runs={tmp_path}", f"paths.cache={tmp_path / 'cache'}"]

    def compose(these):
        return OmegaConf.create(make_config(*base, *these))

    with pytest.raises(UserError, match=r"^sampler=dns sampler\.M=9999: sampler\.M is 9999, but"):
        launch([["sampler=rns"], ["sampler=dns", "sampler.M=9999"]], compose, on_devices())
    with pytest.raises(UserError, match=r"^sampler=gdns trainer\.batch_size=2048 .*train users"):
        large = ["trainer.batch_size=2048", "trainer.drop_last=true", "sampler.M=64"]
        launch([["sampler=rns"], ["sampler=gdns", *large]], compose, on_devices())


def test_every_sampler_can_train_on_the_default_data(tmp_path):
    for path in sorted((conf_dir() / "sampler").glob("*.yaml")):
        fitted = ["model=ease"] if path.stem == "none" else []
        config = make_config(f"sampler={path.stem}", *fitted, f"paths.cache={tmp_path}")
        check(config)
        check_against_data(config, load_split(config))


def test_nothing_is_printed_where_nothing_failed(capsys):
    show_failures([job(0, **{"Recall@20": 0.5, "NDCG@20": 0.25})], screen())
    assert capsys.readouterr().out == ""
