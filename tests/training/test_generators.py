"""Samplers that train a generator, in the training loop: learning rate, state, and log."""

import math

import pytest
import torch

from hapens_bench.data.load import load
from hapens_bench.training.stage import Stage
from tests.training.test_trainer import CPU, comparable, make_trials, same_when_resumed, train

# the discriminator learns in even epochs, the generator in odd ones
GAME = ["sampler.pretrain=0", "sampler.d_epochs=1"]
SETTINGS = {
    name: [f"sampler={name}", "sampler.start=scratch"] for name in ("irgan", "rns_as", "advir")
}
SETTINGS["irgan_minimax"] = ["sampler=irgan_minimax", *GAME]
NAMES = sorted(SETTINGS)
SHORT = [
    "dataset.users=50",
    "trainer.epochs=4",
    "trainer.eval_every=1",
    "model.D=16",
    "tuned=none",
    "sampler.M=6",
]


def pack_and_loop(tmp_path, variants, *overrides):
    trials = make_trials(tmp_path, variants, *SHORT, *overrides)
    split = load(
        trials[0].config["dataset"], trials[0].config["protocol"], tmp_path / "cache", None
    )
    stage = Stage("full", trials[0].config, split, CPU)
    pack = stage.pack([trial.config for trial in trials])
    return stage, pack, stage.loop(pack)


@pytest.mark.parametrize(
    "how", ["trainer.engine=auto", "trainer.engine=reference", "trainer.optimizer=adagrad"]
)
@pytest.mark.parametrize("name", NAMES)
def test_generators_of_a_pack_learn_at_their_own_rate(tmp_path, name, how):
    variants = [["seed=1", "sampler.lr=0.5"], ["seed=2", "trainer.lr=0.25", "sampler.lr=0.125"]]
    overrides = [*SETTINGS[name], how, "trainer.l2=1"]
    _, pack, loop = pack_and_loop(tmp_path, variants, *overrides)
    before = {key: p.detach().clone() for key, p in pack.parameters().items()}
    loop.n_steps = 1
    loop.run(0)
    # the first step of Adam and AdaGrad is as long as the learning rate
    for key, p in pack.parameters().items():
        rates = [0.01, 0.25] if key.startswith("model.") else [0.5, 0.125]
        for t, rate in enumerate(rates):
            assert float((p[t].detach() - before[key][t]).abs().max()) == pytest.approx(
                rate, rel=0.01
            ), key


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_taken_back_to_a_snapshot_does_the_same_again(tmp_path, name):
    _, pack, loop = pack_and_loop(tmp_path, [["seed=1"], ["seed=2"]], *SETTINGS[name])
    loop.run(0)
    before = pack.snapshot()
    rows = loop.run(1)
    after = pack.snapshot()
    pack.restore(before)
    assert loop.run(1) == rows
    assert all(torch.equal(x, y) for x, y in zip(pack.snapshot(), after, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_continues_in_another_pack_with_its_generator_and_baseline(tmp_path, name):
    stage, pack, loop = pack_and_loop(tmp_path, [["seed=1"], ["seed=2"]], *SETTINGS[name])
    loop.run(0)
    state, buffers = (
        pack.trial_state(1),
        {name: x[1:].clone() for name, x in pack.sampler.named_buffers()},
    )
    (_, row) = loop.run(1)
    (config,) = [
        trial.config for trial in make_trials(tmp_path, [["seed=2"]], *SHORT, *SETTINGS[name])
    ]
    other = stage.pack([config])
    other.load_trial_state(0, state)
    assert all(torch.equal(x, buffers[key]) for key, x in other.sampler.named_buffers())
    assert name != "rns_as" or other.sampler.mean_reward.any()
    assert stage.loop(other).run(1) == [row]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_has_the_same_result(tmp_path, name):
    overrides = [*SHORT, *SETTINGS[name], "trainer.checkpoint_seconds=0"]
    assert 0 < same_when_resumed(tmp_path, 1, *overrides) < 4


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_that_loses_a_trial_continues_as_before(tmp_path, name):
    overrides = [*SHORT, *SETTINGS[name]]
    bad, good = train(
        tmp_path / "pack",
        [["seed=3", "trainer.lr=1e38"], ["seed=4", "sampler.lr=0.03"]],
        *overrides,
    )
    assert "the loss is" in bad.failure and good.failure is None
    (alone,) = train(tmp_path / "alone", [["seed=4", "sampler.lr=0.03"]], *overrides)
    assert comparable(alone) == comparable(good)


@pytest.mark.parametrize("name", ["advir", "irgan", "rns_as"])
def test_a_generator_learns_to_earn_and_the_history_shows_it(tmp_path, name):
    """Compare with a generator of next to no learning rate, whose negatives stay uniform."""
    variants = [["seed=1", "sampler.lr=0.03"], ["seed=1", "sampler.lr=1e-12"]]
    overrides = [*SETTINGS[name], "sampler.M=6", "tuned=none", "sampler.l2=0"]
    learns, stands = (trial.progress.rows for trial in train(tmp_path, variants, *overrides))
    assert stands[-1]["sampler/entropy"] == pytest.approx(math.log(6), abs=0.01)
    assert learns[-1]["sampler/entropy"] < math.log(6) - 0.1
    assert learns[-1]["sampler/reward"] > stands[-1]["sampler/reward"]
    assert learns[-1]["hardness/percentile"] > stands[-1]["hardness/percentile"] + 0.05


def test_the_minimax_game_learns_from_its_discriminator_alone(tmp_path):
    overrides = [
        "sampler=irgan_minimax",
        "sampler.pretrain=0",
        "sampler.lr=0.03",
        "trainer.l2=0",
        "tuned=none",
    ]
    (trial,) = train(
        tmp_path, [["seed=0"]], *overrides, "trainer.epochs=24", "protocol.selection=[test_peak]"
    )
    rows = trial.progress.rows
    recall = [row["test/Recall@20"] for row in rows if row["evaluated"]]
    assert max(recall[1:]) > recall[0] + 0.04, (
        "the generator sees positives only as draws that it may be rewarded for"
    )
    assert rows[-1]["sampler/entropy"] < rows[0]["sampler/entropy"] - 0.1
