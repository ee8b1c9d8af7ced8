"""Models without negatives go through the stages, selections and files of any trial."""

import itertools

import pytest
import torch

from hapens_bench.data.load import load
from hapens_bench.models import ials
from hapens_bench.models.fitted import train_matrix
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.training.stage import ranking
from hapens_bench.training.trainer import Trainer
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.models.test_fitted import CASES

CPU = torch.device("cpu")
SMALL = ["dataset.users=80", "dataset.items=400"]


def make(tmp_path, model, *overrides):
    config = make_config(f"model={model}", *SMALL, *overrides)
    trial = Trial(config, RunFolder(tmp_path / "run"), SafeSinks([]))
    split = load(config["dataset"], config["protocol"], tmp_path / "cache", None)
    return trial, split


def train(tmp_path, model, *overrides):
    trial, split = make(tmp_path, model, *overrides)
    Trainer([trial], split, CPU).run()
    assert trial.failure is None
    return trial, split


@pytest.mark.parametrize("model", sorted(CASES))
def test_each_selection_reports_what_its_stage_was_fitted_to(tmp_path, model):
    trial, _ = train(tmp_path, model)
    results = trial.results()
    assert set(results) == {"valid", "test_peak", "valid_refit"} and trial.progress.stage == "done"
    rows = trial.progress.rows
    assert not any(key.startswith("hardness/") for row in rows for key in row)
    stages = {stage: [row for row in rows if row["stage"] == stage] for stage in ("held", "full")}
    closed = trial.closed_form
    assert [len(rows) for rows in stages.values()] == ([1, 1] if closed else [16, 16])
    assert all(("train/loss" in row) != closed and row["seconds"] > 0 for row in rows)
    if closed:
        assert all(result["converged"] and result["epoch"] == 0 for result in results.values())
        assert results["test_peak"] == results["valid_refit"]
    else:
        chosen = max(stages["held"], key=lambda row: row[f"valid/{trial.monitor}"])["epoch"]
        assert results["valid"]["epoch"] == results["valid_refit"]["epoch"] == chosen
    assert results["valid"]["test"]["Recall@20"] > 0.05


@pytest.mark.parametrize("protocol", ["ahns", "gdns"])  # full, and over candidates
def test_scores_rank_as_vectors_do(tmp_path, protocol, monkeypatch):
    config = make_config(
        "model=ials",
        *SMALL,
        f"protocol={protocol}",
        "protocol.monitor=NDCG@3",
        "protocol.metrics=[NDCG@3,Recall@3]",
    )
    if protocol == "gdns":
        config["protocol"]["metrics"].append("full/Recall@20")
    split = load(config["dataset"], config["protocol"], tmp_path / "cache", None)
    section = config["model"]
    model = ials.IALS(
        train_matrix(split.train, split.n_users, split.n_items),
        0,
        **{key: section[key] for key in ials.IALS.keys},
    )
    model.fit()
    for engine, memory in (("auto", 256), ("reference", 0.001)):
        config["trainer"] |= {"engine": engine, "eval_memory_mb": memory}
        by = ranking(config, split, CPU, "held")
        (expected,) = by.evaluate(model.user[None], model.item[None])
        found = by.evaluate_scores(model.scores)
        assert found.mean() == expected.mean() and found.mean()["NDCG@3"] > 0
        assert all(torch.equal(found.hits[key], hits) for key, hits in expected.hits.items())
        assert torch.equal(found.users, expected.users)


def comparable(trial):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trial.progress.rows]
    return trial.failure, trial.results(), rows


@pytest.mark.parametrize("stop", [5, 16])
def test_ials_goes_on_where_it_was_stopped(tmp_path, monkeypatch, stop):
    whole, _ = train(tmp_path / "whole", "ials", "trainer.checkpoint_seconds=0")
    trial, split = make(tmp_path / "parts", "ials", "trainer.checkpoint_seconds=0")
    saved, count = Trial.save, itertools.count()

    class Stop(Exception):
        pass

    def save(self, state):
        saved(self, state)
        if next(count) == stop:
            raise Stop

    monkeypatch.setattr(Trial, "save", save)
    with pytest.raises(Stop):
        Trainer([trial], split, CPU).run()
    monkeypatch.setattr(Trial, "save", saved)
    again, _ = make(tmp_path / "parts", "ials", "trainer.checkpoint_seconds=0")
    assert again.restore() and len(again.progress.rows) == stop + 1
    Trainer([again], split, CPU).run()
    assert comparable(again) == comparable(whole)


def test_an_epoch_that_breaks_is_undone(tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole", "ials")
    trial, split = make(tmp_path / "parts", "ials")
    fit, count = ials.IALS.fit, itertools.count()

    def broken(self):
        if next(count) == 4:
            self.user.fill_(9)
            raise MemoryError
        return fit(self)

    monkeypatch.setattr(ials.IALS, "fit", broken)
    trainer = Trainer([trial], split, CPU)
    with pytest.raises(MemoryError):
        trainer.run()
    assert trainer.rescue() == [trial] and len(trial.progress.rows) == 4
    Trainer([trial], split, CPU).run()
    assert comparable(trial) == comparable(whole)


def test_ials_stops_early_where_patience_ends(tmp_path):
    trial, _ = train(tmp_path, "ials", "trainer.patience=1", "protocol.selection=[valid]")
    assert len(trial.progress.rows) == trial.results()["valid"]["epoch"] + 2 < 16
