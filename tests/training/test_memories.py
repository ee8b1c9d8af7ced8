"""Samplers that remember users or pairs, in the training loop: packs, resumption, indicators."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hapens_bench.data.load import load
from hapens_bench.launch.job import Job
from hapens_bench.launch.run import run_pack
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.build import build_sampler
from hapens_bench.training.known_pairs import KINDS, NEGATIVES, watch
from hapens_bench.training.stage import Stage
from tests.conftest import make_config
from tests.training.test_trainer import CPU, comparable, make_trials, same_when_resumed, train

GDNS = [
    "sampler=gdns",
    "trainer=gdns",
    "trainer.batch_size=16",
    "sampler.N=4",
    "sampler.M=12",
    "model=gmf",
]
SRNS = [
    "sampler=srns",
    "sampler.S1=3",
    "sampler.S2=6",
    "sampler.T0=2",
    "model=gmf",
    "trainer.reduction=sum",
]
DIVNS = ["sampler=divns", "sampler.M=6", "sampler.r=3", "model=mf"]
SETTINGS = {
    "gdns": GDNS,
    "gdns_hardness": [*GDNS, "sampler.select=hardness", "loss.pairs=matched"],
    "srns": SRNS,
    "srns_persistent": [*SRNS, "sampler.memory=persistent"],
    "divns": DIVNS,
    "divns_greedy": [*DIVNS, "sampler.select=greedy"],
}
VARIANTS = {
    "gdns": [
        ["seed=1"],
        ["seed=2", "sampler.alpha=0.9"],
        ["seed=3", "loss.gamma=0.2", "trainer.lr=0.3"],
    ],
    "srns": [
        ["seed=1"],
        ["seed=2", "sampler.alpha=0.5"],
        ["seed=3", "sampler.tau=0.1", "trainer.lr=0.03"],
    ],
    "divns": [
        ["seed=1"],
        ["seed=2", "sampler.lam=0.2"],
        ["seed=3", "sampler.lam=0.9", "trainer.lr=0.03"],
    ],
}
SHORT = ["trainer.epochs=8", "trainer.eval_every=1", "model.D=8", "dataset.users=50"]
RELABELLED = ["protocol=gdns_relabelled", "dataset.users=60", "dataset.items=320", "tuned=none"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_trial_has_the_same_result_alone_and_in_a_pack_bit_for_bit(tmp_path, name):
    variants = VARIANTS[name.partition("_")[0]]
    overrides = [*SETTINGS[name], *SHORT, "trainer.patience=2"]
    packed = train(tmp_path / "pack", variants, *overrides)
    assert len({comparable(trial)[2][-1]["train/loss"] for trial in packed}) == 3
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *overrides)
        assert comparable(alone) == comparable(packed[place])


@pytest.mark.parametrize("name", SETTINGS)
def test_resuming_gives_the_same_result(tmp_path, name):
    assert (
        same_when_resumed(tmp_path, 3, *SETTINGS[name], *SHORT, "trainer.checkpoint_seconds=0") == 4
    )


@pytest.mark.parametrize("name", ["gdns", "srns", "divns"])
def test_a_snapshot_over_an_earlier_one_is_complete(tmp_path, name):
    trials = make_trials(tmp_path, VARIANTS[name], *SETTINGS[name], *SHORT)
    split = load(
        trials[0].config["dataset"], trials[0].config["protocol"], tmp_path / "cache", None
    )
    stage = Stage("full", trials[0].config, split, CPU)
    pack = stage.pack([trial.config for trial in trials])
    loop = stage.loop(pack)
    first = pack.snapshot()
    loop.run(0)
    second = pack.snapshot(first)
    assert all(x is y for x, y in zip(first, second, strict=True))
    rows = loop.run(1)
    pack.restore(second)
    assert loop.run(1) == rows
    pack.keep([0, 2])
    third = pack.snapshot(second)
    assert third[0] is not second[0] and len(third[0]) == 2


def test_relabelled_pairs_leave_train_one_a_user_by_their_seed(tmp_path):
    plain, same, other = (
        load(config["dataset"], config["protocol"], tmp_path, None)
        for config in (
            make_config(*RELABELLED, "protocol=gdns"),
            make_config(*RELABELLED),
            make_config(*RELABELLED, "protocol.relabel.seed=1"),
        )
    )
    assert plain.relabelled is None and len({plain.data_hash, same.data_hash, other.data_hash}) == 3
    users, count = np.unique(plain.train[:, 0], return_counts=True)
    assert np.array_equal(same.relabelled[:, 0], users[count > 1]), (
        "one of each user who has another"
    )
    both = np.concatenate([same.train, same.relabelled])
    assert {tuple(pair) for pair in both} == {tuple(pair) for pair in plain.train} and len(
        both
    ) == len(plain.train)
    assert np.array_equal(plain.negatives, same.negatives) and np.array_equal(plain.test, same.test)
    assert not np.array_equal(same.relabelled, other.relabelled)


def test_watched_pairs_are_of_the_kind_that_they_claim(tmp_path):
    config = make_config(*RELABELLED)
    split = load(config["dataset"], config["protocol"], tmp_path, None)
    watched = pd.DataFrame({name: x.numpy() for name, x in watch(split).items()})
    pairs = {
        kind: set(zip(*(watched.loc[watched["kind"] == k, c] for c in ("user", "item"))))
        for k, kind in enumerate(KINDS)
    }

    def as_set(rows):
        return {tuple(pair) for pair in rows}

    observed = as_set(np.concatenate([split.train, split.valid, split.test]))
    assert pairs["relabelled"] == as_set(split.relabelled)
    assert pairs["relevant"] == as_set(split.relevant) - observed - pairs["relabelled"]
    assert (
        not pairs["negative"] & (observed | as_set(split.relevant)) and len(pairs["negative"]) > 500
    )
    assert (watched[watched["kind"] == 0].groupby("user").size() == NEGATIVES).all()
    ahns = make_config("protocol=ahns", "dataset.hidden=0")
    nothing = load(ahns["dataset"], ahns["protocol"], tmp_path, None)
    assert watch(nothing) is None, "all that is relevant is observed"


def test_a_run_writes_what_its_sampler_remembers_about_watched_pairs(tmp_path):
    def run(*overrides):
        job = Job(make_config(*RELABELLED, *overrides, *SHORT, f"paths.runs={tmp_path}"), [])
        run_pack([job], CPU)
        assert job.state == "done", job.reason
        return job.folder

    frame = run(*GDNS).read_frame("indicators")
    assert list(frame.columns) == ["user", "item", "kind", "H", "G"]
    assert (
        set(frame["kind"]) == {0, 1, 2}
        and frame["H"].between(0, 1).all()
        and frame["G"].between(0, 1).all()
    )
    visited = frame["G"] < 1
    assert visited.mean() > 0.05 and (frame.loc[~visited, "H"] == 1).all()
    other = run("sampler=rns")
    assert not (other.path / "indicators.parquet").exists()


def test_a_captured_step_has_no_shape_that_depends_on_the_data():
    """No draw asks the host for a value.

    Tensors without values, which raise where one is asked for, go through it.
    """
    pairs = np.array([(u, i) for u in range(6) for i in (u, u + 3)])
    for rows in (GDNS, SRNS, DIVNS):
        section = make_config(*rows)["sampler"]
        sampler = build_sampler([section] * 2, [0, 1], 4, 6, 20, n_pairs=len(pairs))
        encoded = Encoded(torch.randn(2, 6, 4), torch.randn(2, 20, 4))
        sampler.allocate(encoded)
        sampler.start(Positives(pairs, 6, 20))
        sampler.observe(Positives(pairs, 6, 20))
        users = torch.tensor([[0, 3, 0], [5, 1, 2]])
        batch = Batch(users, users + 3, torch.tensor(1), torch.tensor(4), 9)
        pool = torch.full((2, 3, sampler.pool_size), 12)
        streams = Streams([0, 1], Purpose.SAMPLER)
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert sampler.draw(batch, encoded, pool, streams).items.shape[:2] == (2, 3)
