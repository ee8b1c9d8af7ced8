"""LightGCN and NGCF in the training loop: packs, resumption, and the graph of each stage."""

import pytest
import torch

from hapens_bench.data.load import load
from hapens_bench.models.graph import Graph
from hapens_bench.training.stage import Stage
from tests.training.test_trainer import (
    ALONE,
    CPU,
    comparable,
    make_trials,
    same_when_resumed,
    train,
)

DROPOUT = ["model.message_dropout=0.1", "model.node_dropout=0.2"]
SETTINGS = {
    "lightgcn": ["model=lightgcn"],
    "lightgcn with dropout": ["model=lightgcn", *DROPOUT],
    "xsimgcl": ["model=xsimgcl"],
    "ngcf": ["model=ngcf", "model.L=2"],
    "ngcf of the authors": ["model=ngcf", "model.L=2", "model.variant=authors", *DROPOUT],
}
SHORT = ["dataset.users=50", "trainer.epochs=3", "trainer.eval_every=1", "model.D=16", "tuned=none"]


def same_alone_and_packed(tmp_path, variants, *overrides):
    packed = train(tmp_path / "pack", variants, *SHORT, *overrides)
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *SHORT, *overrides)
        assert alone.failure is None and comparable(alone) == comparable(packed[place])
    return packed


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_trial_trains_the_same_alone_and_in_a_pack(tmp_path, name, engine):
    variants = [["seed=1"], ["seed=2", "trainer.lr=0.03"], ["seed=3", "trainer.l2=0.01"]]
    if "dropout" in name:
        variants[1] += ["model.message_dropout=0", "model.node_dropout=0"]
    packed = same_alone_and_packed(tmp_path, variants, *SETTINGS[name], f"trainer.engine={engine}")
    full = [row["train/loss"] for row in packed[1].progress.rows if row["stage"] == "full"]
    assert full[-1] < full[0]


@pytest.mark.parametrize("model", ["lightgcn", "ngcf"])
@pytest.mark.parametrize(
    "sampler", ["mixgcf", "dens", "dins", "ans", "dns", "sdns", "irgan", "rns_as", "advir"]
)
def test_samplers_train_the_same_alone_and_in_a_pack_on_layers(tmp_path, model, sampler):
    variants = [["seed=1"], ["seed=2", "trainer.lr=0.02"]]
    overrides = [
        *SETTINGS[model],
        f"sampler={sampler}",
        "sampler.M=4",
        "trainer.epochs=2",
        *ALONE.get(sampler, []),
    ]
    same_alone_and_packed(tmp_path, variants, *overrides)


@pytest.mark.parametrize("name", ["lightgcn with dropout", "xsimgcl", "ngcf of the authors"])
def test_a_resumed_training_drops_what_it_would_have_dropped(tmp_path, name):
    overrides = [*SHORT, *SETTINGS[name], "trainer.checkpoint_seconds=0"]
    assert 0 < same_when_resumed(tmp_path, 1, *overrides) < 3


def test_a_pack_that_loses_a_trial_continues_as_before(tmp_path):
    overrides = [*SHORT, *SETTINGS["ngcf of the authors"], "trainer.epochs=4"]
    bad, good = train(tmp_path / "pack", [["seed=3", "trainer.lr=1e38"], ["seed=4"]], *overrides)
    assert "the loss is" in bad.failure and good.failure is None
    (alone,) = train(tmp_path / "alone", [["seed=4"]], *overrides)
    assert comparable(alone) == comparable(good)


def test_a_stage_builds_one_graph_of_its_own_train_pairs(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        Graph,
        "__init__",
        lambda self, pairs, *args: built.append(pairs) or make(self, pairs, *args),
    )
    (trial,) = make_trials(tmp_path, [["seed=1"]], *SHORT, "model=lightgcn")
    split = load(trial.config["dataset"], trial.config["protocol"], tmp_path / "cache", None)
    for name, pairs in (("held", split.train), ("full", split.full_train)):
        stage = Stage(name, trial.config, split, CPU)
        packs = [stage.pack([trial.config] * T) for T in (1, 2)]
        assert all(pack.model.graph is stage.graph for pack in packs)
        assert int(stage.graph.user_degree.sum()) == len(pairs) == len(stage.graph.users.index)
        dense = torch.zeros(split.n_users, split.n_items)
        dense[tuple(pairs.T)] = 1
        ones = torch.ones(1, len(pairs))
        product = stage.graph.multiply(stage.graph.users, ones, torch.eye(split.n_items)[None])[0]
        assert torch.equal(product, dense)
    assert [len(pairs) for pairs in built] == [len(split.train), len(split.full_train)]
    assert Stage("full", make_trials(tmp_path, [["seed=1"]])[0].config, split, CPU).graph is None


make = Graph.__init__


def test_sdns_with_factor_1_is_dns(tmp_path):
    common = [*SHORT, "sampler.M=6"]
    (dns,) = train(tmp_path / "dns", [["sampler=dns"]], *common)
    (sdns,) = train(tmp_path / "sdns", [["sampler=sdns"]], *common, "loss.factor=1")
    (soft,) = train(tmp_path / "soft", [["sampler=sdns"]], *common, "loss.factor=0.2")
    assert comparable(sdns)[1:] == comparable(dns)[1:] != comparable(soft)[1:]


def test_both_engines_train_lightgcn_to_about_the_same_metrics(tmp_path):
    overrides = ["model=lightgcn", "model.D=16", "trainer.epochs=12"]
    (fast,) = train(tmp_path / "fast", [["seed=3"]], *overrides)
    (plain,) = train(tmp_path / "plain", [["seed=3"]], *overrides, "trainer.engine=reference")
    mine, theirs = fast.results()["test_peak"]["test"], plain.results()["test_peak"]["test"]
    assert all(abs(mine[metric] - theirs[metric]) < 0.03 for metric in mine)
    first, other = fast.progress.rows[0], plain.progress.rows[0]
    assert abs(first["train/loss"] - other["train/loss"]) < 1e-5
