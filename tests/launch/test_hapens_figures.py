"""scripts/hapens/figures.py on small runs of each experiment's shape."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hapens_bench.launch.job import Job
from tests.conftest import make_config
from tests.launch.sweeps import sweep

PATH = Path(__file__).parents[2] / "scripts" / "hapens" / "figures.py"
if not PATH.is_file():
    pytest.skip("a wheel has no scripts", allow_module_level=True)
sys.path.insert(0, str(PATH.parent))  # where a script finds its siblings
SPEC = importlib.util.spec_from_file_location("hapens_figures", PATH)
figures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figures)
levels = importlib.import_module("frames").levels
BASE = ["sampler=hapens", "sampler.M_max=8", "model.D=8", "trainer.lr=0.01", "tuned=none"]
SELECTION = "protocol.selection=[valid,valid_refit]"


@pytest.fixture
def trained(tmp_path):
    def train(variants, *overrides):
        whole = [[f"seed={seed}", *variant] for variant in variants for seed in (0, 1)]
        _, jobs = sweep(tmp_path, whole, *BASE, SELECTION, *overrides)
        assert all(job.is_done() for job in jobs)
        return jobs

    return train


def test_oracle_finds_the_best_m_of_each_user_by_validation(trained):
    jobs = trained(
        [["sampler.M=null"], ["sampler.M=1"], ["sampler.M=8"]], "trainer.user_hardness=true"
    )
    frame = figures.oracle(jobs)
    score = {}
    for m in (1, 8):
        trained_with_m = [job for job in jobs if job.config["sampler"]["M"] == m]
        score[m] = np.mean(
            [job.folder.read_arrays("hardness")["validation"] for job in trained_with_m], 0
        )
    personal = [job.prerequisite for job in jobs if job.config["sampler"]["M"] is None]
    h = np.mean([job.folder.read_arrays("hardness")["min"] for job in personal], 0)
    use = np.isfinite(score[1]) & (score[1] != score[8])
    best = np.where(score[8] > score[1], 3.0, 0.0)
    row = frame[frame["what"].str.startswith("Spearman")].iloc[0]
    assert row["n"] == use.sum() > 5
    assert np.isclose(row["value"], stats.spearmanr(best[use], h[use]).statistic)
    assert row["low"] <= row["value"] <= row["high"]
    assert figures.draw_oracle(frame)


def test_shuffle_and_readings_compare_with_the_first_setting(trained):
    jobs = trained([["sampler.shuffle=false"], ["sampler.shuffle=true"]])
    frame = figures.compared(jobs, "shuffle").set_index("shuffle")
    mine = [
        100 * job.folder.read_summary()["selection"]["valid_refit"]["test"]["Recall@20"]
        for job in jobs
    ]
    assert np.isclose(frame.loc["False", "mean"], np.mean(mine[:2]))
    assert np.isclose(
        frame.loc["True", "False less this, over users"], np.mean(mine[:2]) - np.mean(mine[2:])
    )
    assert 0 < frame.loc["True", "corrected p over users"] <= 1
    assert figures.draw_compared(frame.reset_index(), "shuffle")


def test_tail_and_confounders_read_the_levels_of_stage_one(trained):
    jobs = trained([["sampler.reading=A"], ["sampler.reading=F"]])
    frame = figures.tail(jobs).set_index(["statistic", "over users"])
    h = {
        name: np.mean(
            [levels(job, "min") for job in jobs if job.config["sampler"]["reading"] == name],
            0,
        )
        for name in "AF"
    }
    assert np.isclose(frame.loc[("min", "mean"), "value"], np.nanmean(h["A"]) - np.nanmean(h["F"]))
    expected = np.nanquantile(h["A"], 0.1) - np.nanquantile(h["F"], 0.1)
    assert np.isclose(frame.loc[("min", "quantile 0.1"), "value"], expected)
    assert figures.draw_tail(frame.reset_index())
    jobs = trained([["sampler.level=min"]])
    frame = figures.confounders(jobs).set_index(["statistic", "what"])
    count = levels(jobs[0], "count")
    rho = stats.spearmanr(count[count > 0], h["A"][count > 0]).statistic
    assert np.isclose(frame.loc[("min", "Spearman with |S_u|"), "value"], rho)
    assert 0 <= frame.loc[("min", "R2 of both"), "value"] <= 1
    assert figures.draw_confounders(frame.reset_index())


def test_noise_splits_the_users_by_who_got_false_records(trained):
    noise = "+protocol.noise={users: %s, most: 3, seed: 0}"
    frame = figures.noise(trained([[noise % "0"], [noise % "0.3"]])).set_index(["what", "users"])
    n = frame.loc["h_u", "n"]
    assert n["noisy users"] == round(0.3 * 80) and n.sum() == 80
    assert frame.loc[("h_u", "noisy users"), "value"] < frame.loc[("h_u", "others"), "value"]
    assert figures.draw_noise(frame.reset_index())


def test_each_experiment_has_a_preset_of_its_name():
    for name in figures.EXPERIMENTS:
        config = make_config(f"experiment=hapens_{name}")
        assert config["sampler"]["name"] == "hapens" and Job(config, []).prerequisite is not None
