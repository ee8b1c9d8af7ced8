"""What a stage trains on, and what is masked in its ranking."""

import numpy as np
import pytest
import torch

from hapens_bench.data.interactions import Split
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.training.stage import Stage, ranking, train_pairs
from tests.conftest import make_config
from tests.training.test_trainer import SMALL, train

CPU = torch.device("cpu")
AUTHORS = ["protocol=sdns_authors"]


def toy() -> Split:
    """Return a split of one user: train items 0 and 1, validation item 2 and test item 3, of 30."""
    parts = (np.array([[0, item] for item in items]) for items in ([0, 1], [2], [3]))
    return Split("toy", 1, 30, *parts)


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_validation_items_are_candidates_at_test_where_train_alone_is_masked(engine):
    scores = torch.arange(30, 0, -1.0).view(1, 30, 1)  # item 0 is the best, item 29 the worst
    for mask, place in (("train+valid", 1), ("train", 2)):
        metrics = "protocol.metrics=[NDCG@20]", "protocol.monitor=NDCG@20"
        config = make_config(f"protocol.mask={mask}", f"trainer.engine={engine}", *metrics)
        (at_test,) = ranking(config, toy(), CPU).evaluate(torch.ones(1, 1, 1), scores)
        assert at_test.mean()["NDCG@20"] == pytest.approx(1 / np.log2(place + 1))
        (at_valid,) = ranking(config, toy(), CPU, "held").evaluate(torch.ones(1, 1, 1), scores)
        assert at_valid.mean()["NDCG@20"] == pytest.approx(1), "only train items were above it"


def test_stage_full_trains_on_validation_items_only_where_they_are_masked():
    for mask, items in (("train+valid", [0, 1, 2]), ("train", [0, 1])):
        config = make_config(f"protocol.mask={mask}", "trainer.batch_size=2")
        assert train_pairs("full", config["protocol"], toy())[:, 1].tolist() == items
        assert Stage("full", config, toy(), CPU).train[:, 1].tolist() == items
        assert train_pairs("held", config["protocol"], toy())[:, 1].tolist() == [0, 1]


def test_under_sdns_authors_the_training_is_that_of_the_train_part(tmp_path):
    (theirs,) = train(tmp_path / "theirs", [[]], *AUTHORS)
    (ours,) = train(tmp_path / "ours", [[]], "protocol=sdns", "trainer.patience=null")
    by_authors, by_us = (
        [row["train/loss"] for row in trial.progress.rows] for trial in (theirs, ours)
    )
    assert by_authors == by_us, "their stage full trains like our stage held"
    assert list(theirs.results()) == ["test_peak"] and list(ours.results()) == ["valid"]
    evaluated = [row for row in theirs.progress.rows if row["evaluated"]]
    best = max(row["test/Recall@20"] for row in evaluated)
    assert theirs.results()["test_peak"]["test"]["Recall@20"] == best


def test_both_selections_of_sdns_authors_are_of_the_same_training(tmp_path):
    both = "protocol.selection=[test_peak,valid]"
    (trial,) = train(tmp_path, [[]], *AUTHORS, both, "trainer.patience=null")
    rows = [(row["stage"], row["epoch"], row["train/loss"]) for row in trial.progress.rows]
    held, full = ([row[1:] for row in rows if row[0] == stage] for stage in ("held", "full"))
    assert held == full and len(full) == 12
    peak, valid = (trial.results()[name]["test"]["Recall@20"] for name in ("test_peak", "valid"))
    assert peak >= valid


def test_a_refit_on_validation_items_that_stay_candidates_is_refused():
    for selection in ("[valid_refit]", "[test_peak,valid,valid_refit]"):
        with pytest.raises(UserError, match="leave valid_refit out"):
            check(make_config(*AUTHORS, f"protocol.selection={selection}"))
    check(make_config(*AUTHORS, "protocol.selection=[test_peak,valid]"))
    with pytest.raises(UserError, match=r"protocol\.mask is 'all', but it takes one of"):
        check(make_config("protocol.mask=all"))


def test_gowalla_of_the_authors_trains_on_all_of_the_published_train_file(mirror, tmp_path):
    config = make_config("dataset=gowalla", *AUTHORS)
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    assert (len(split.train), len(split.valid), len(split.test)) == (810_128, 0, 217_242)


def test_the_data_of_sdns_authors_are_those_of_sdns(tmp_path):
    ours, theirs = (make_config(*SMALL, f"protocol={name}") for name in ("sdns", "sdns_authors"))
    hashes = {load(c["dataset"], c["protocol"], tmp_path, None).data_hash for c in (ours, theirs)}
    assert len(hashes) == 1
