import itertools

import numpy as np
import pytest
import torch

from hapens_bench.data.load import load
from hapens_bench.metrics import is_overall
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.training.trainer import Trainer
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.samplers.cases import CASES

# Overrides to train without a prerequisite; tests/launch/test_prerequisites.py has those with.
ALONE = {"hapens": ["sampler.M=4"], "rns_as": ["sampler.start=scratch"]}
# They take hundreds of negatives, which the plain path treats like a few.
MANY = ("adv_infonce", "bsl", "ccl", "psl", "sl", "sl_at_k")
CPU = torch.device("cpu")
SMALL = [
    "dataset.users=80",
    "dataset.items=300",
    "trainer.batch_size=128",
    "trainer.epochs=12",
    "trainer.lr=0.01",
]


def make_trials(tmp_path, variants, *overrides):
    configs = [make_config(*SMALL, *overrides, *variant) for variant in variants]
    return [Trial(c, RunFolder(tmp_path / f"run{k}"), SafeSinks([])) for k, c in enumerate(configs)]


def train(tmp_path, variants, *overrides):
    trials = make_trials(tmp_path, variants, *overrides)
    split = load(
        trials[0].config["dataset"], trials[0].config["protocol"], tmp_path / "cache", None
    )
    Trainer(trials, split, CPU).run()
    return trials


def comparable(trial):
    rows = [
        {k: v for k, v in row.items() if k not in ("seconds", "pack_size")}
        for row in trial.progress.rows
    ]
    return trial.failure, trial.results(), rows


def same_when_resumed(tmp_path, stop, *overrides):
    """Train to the end, and again with a stop after checkpoint number `stop`.

    Return the epoch from which the second training was resumed.
    """
    (whole,) = train(tmp_path / "whole", [["seed=5"]], *overrides)

    class Stop(Exception):
        pass

    saved, count = Trial.save, itertools.count()

    def save_then_stop(self, state):
        saved(self, state)
        if next(count) == stop:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Trial, "save", save_then_stop)
        train(tmp_path / "cut", [["seed=5"]], *overrides)
    (again,) = make_trials(tmp_path / "cut", [["seed=5"]], *overrides)
    assert again.restore()
    begun = again.progress.next_epoch
    split = load(again.config["dataset"], again.config["protocol"], tmp_path / "cache", None)
    Trainer([again], split, CPU).run()
    assert comparable(again) == comparable(whole)
    return begun


VARIANTS = {
    "rns": [["seed=1"], ["seed=2", "trainer.lr=0.03"], ["seed=3", "trainer.l2=0.1"]],
    "dns": [["seed=1"], ["seed=2", "trainer.lr=0.03"], ["seed=3"]],
    "ahns": [
        ["seed=1"],
        ["seed=2", "sampler.alpha=0.1"],
        ["seed=3", "sampler.beta=0.7", "sampler.p=-1"],
    ],
}
ADAGRAD = [
    "trainer.optimizer=adagrad",
    "trainer.initial_accumulator=1e-4",
    "trainer.reduction=sum",
    "model=gmf",
]


@pytest.mark.parametrize(
    ("sampler", "how"), [*((name, []) for name in sorted(VARIANTS)), ("rns", ADAGRAD)]
)
def test_a_trial_has_the_same_result_alone_and_in_a_pack_bit_for_bit(tmp_path, sampler, how):
    overrides = [f"sampler={sampler}", "trainer.patience=3", "trainer.eval_every=1", *how]
    packed = train(tmp_path / "pack", VARIANTS[sampler], *overrides)
    epochs = {len(trial.progress.rows) for trial in packed}
    assert sampler != "rns" or len(epochs) > 1, (
        "this case should have trials that stop at different epochs"
    )
    for place, variant in enumerate(VARIANTS[sampler]):
        (alone,) = train(tmp_path / str(place), [variant], *overrides)
        assert comparable(alone) == comparable(packed[place])
        for selection, report in alone.progress.reports.items():
            other = packed[place].progress.reports[selection]
            assert all(torch.equal(v, other["values"][m]) for m, v in report["values"].items())


def test_training_learns(tmp_path):
    (trial,) = train(tmp_path, [["seed=0"]], "trainer.epochs=30")
    rows = [row for row in trial.progress.rows if row["stage"] == "full"]
    assert rows[-1]["train/loss"] < 0.5 * rows[0]["train/loss"]
    assert trial.results()["test_peak"]["test"]["Recall@20"] > 0.15  # random order: 0.07


def test_summing_over_the_batch_matters_to_adagrad_and_hardly_to_adam(tmp_path):
    """For Adam only eps makes a difference; for AdaGrad an accumulator above 0 does."""

    def losses(name, *overrides):
        (trial,) = train(
            tmp_path / name, [["seed=0"]], "model.similarity=dot", "trainer.l2=0.01", *overrides
        )
        return np.array([row["train/loss"] for row in trial.progress.rows])

    adam = losses("mean"), losses("sum", "trainer.reduction=sum")
    assert abs(adam[0] - adam[1]).max() < 1e-3 and abs(adam[0][-1] - adam[0][0]) > 0.05
    adagrad = ["trainer.optimizer=adagrad", "trainer.initial_accumulator=1e-4"]
    mean, total = losses("a", *adagrad), losses("b", *adagrad, "trainer.reduction=sum")
    assert abs(mean - total).max() > 1e-2 and total[0] < mean[0], (
        "a sum overcomes the accumulator sooner"
    )


def test_a_trial_that_diverges_fails_alone(tmp_path):
    bad, good = train(tmp_path / "pack", [["trainer.lr=1e38"], ["seed=4"]])
    assert "the loss is" in bad.failure and good.failure is None
    (alone,) = train(tmp_path / "alone", [["seed=4"]])
    assert comparable(alone) == comparable(good)


def test_stages_and_selections(tmp_path):
    def selected(name, *selections):
        (trial,) = train(
            tmp_path / name, [["seed=0"]], f"protocol.selection=[{','.join(selections)}]"
        )
        return trial

    everything = selected("all", "test_peak", "valid", "valid_refit")
    results = everything.results()
    assert set(results) == {"test_peak", "valid", "valid_refit"}
    assert results["valid"]["epoch"] == results["valid_refit"]["epoch"]
    # each selection reports what it reports alone
    for name in ("test_peak", "valid", "valid_refit"):
        assert selected(name, name).results() == {name: results[name]}
    # the refit is a row of stage full, and the test peak is that stage's best row
    full = {
        row["epoch"]: row
        for row in everything.progress.rows
        if row["stage"] == "full" and row["evaluated"]
    }
    refit = results["valid_refit"]
    assert full[refit["epoch"]]["test/Recall@20"] == refit["test"]["Recall@20"]
    assert (
        max(row["test/Recall@20"] for row in full.values())
        == results["test_peak"]["test"]["Recall@20"]
    )
    # stage held chooses without looking at test
    held = [row for row in everything.progress.rows if row["stage"] == "held"]
    assert not any(key.startswith("test/") for row in held for key in row)


def test_candidate_ranking_reports_the_full_ranking_of_the_same_model_beside_it(tmp_path):
    (trial,) = train(
        tmp_path, [["seed=0"]], "protocol=gdns", "model=gmf", "model.D=16", "trainer.lr=0.02"
    )
    (report,) = trial.results().values()
    rows = [row for row in trial.progress.rows if row["evaluated"]]
    best = max(rows, key=lambda row: (row["valid/NDCG@3"], row["epoch"]))
    assert best["epoch"] == report["epoch"] and best["valid/NDCG@3"] > 0.05  # by chance: 0.02
    by_user = [metric for metric in report["test"] if not is_overall(metric)]
    assert by_user == trial.config["protocol"]["metrics"]
    assert 0 < report["test"]["full/Coverage@3"] <= 1
    assert 0 < report["test"]["full/Recall@20"] < 1
    frame = trial.users_frame()
    assert set(by_user) < set(frame.columns) and len(frame) == frame["user"].nunique() > 70
    (full,) = train(
        tmp_path / "full",
        [["seed=0"]],
        "protocol=gdns",
        "model=gmf",
        "model.D=16",
        "trainer.lr=0.02",
        "protocol.ranking=full",
        "protocol.metrics=[NDCG@3,Recall@20]",
    )
    mine, theirs = ([row["train/loss"] for row in t.progress.rows] for t in (trial, full))
    assert mine == theirs, "what is measured does not touch the training"
    last = full.progress.rows[report["epoch"]]
    assert last["valid/Recall@20"] == best["valid/full/Recall@20"]


def test_a_run_that_is_best_at_its_end_is_marked_not_converged(tmp_path):
    (trial,) = train(
        tmp_path, [["seed=0", "trainer.lr=0.0001", "trainer.epochs=3", "trainer.eval_every=1"]]
    )
    assert trial.results()["test_peak"]["converged"] == (trial.results()["test_peak"]["epoch"] < 2)


ENMF = ["sampler=enmf", "model.user_dropout=0.2", "trainer.batch_size=16", *ADAGRAD]


@pytest.mark.parametrize(
    ("stop", "how"), [(0, []), (3, []), (7, []), (3, ADAGRAD), (3, ENMF), (3, ["sampler=aobpr"])]
)
def test_resuming_from_any_checkpoint_gives_the_same_result(tmp_path, stop, how):
    overrides = ["trainer.checkpoint_seconds=0", "trainer.eval_every=1", *how]
    same_when_resumed(tmp_path, stop, *overrides)


def test_hardness_is_logged_every_epoch_and_false_negatives_of_planted_are_real(tmp_path):
    (trial,) = train(tmp_path, [["sampler=dns", "sampler.M=16"]])
    (uniform,) = train(tmp_path / "rns", [["sampler=rns"]])
    for row in trial.progress.rows:
        for name in ("ratio", "sigmoid", "percentile", "false_negative_rate"):
            assert np.isfinite(row[f"hardness/{name}"])
    last, base = trial.progress.rows[-1], uniform.progress.rows[-1]
    assert last["hardness/percentile"] > 0.85 > base["hardness/percentile"]
    assert last["hardness/false_negative_rate"] > base["hardness/false_negative_rate"] > 0


def test_a_trial_is_the_same_at_any_place_of_a_pack_of_32(tmp_path):
    mates = [[f"seed={k}", f"trainer.lr={0.001 * (k + 1)}"] for k in range(31)]
    mine, overrides = (
        ["seed=77", "trainer.lr=0.02"],
        ["sampler=dns", "trainer.epochs=4", "dataset.users=40"],
    )
    (alone,) = train(tmp_path / "alone", [mine], *overrides)
    first = train(tmp_path / "first", [mine, *mates], *overrides)[0]
    last = train(tmp_path / "last", [*mates, mine], *overrides)[-1]
    assert comparable(first) == comparable(alone) == comparable(last)


def test_both_engines_train_to_about_the_same(tmp_path):
    (fast,) = train(tmp_path / "fast", [["seed=3"]], "sampler=ahns")
    (plain,) = train(tmp_path / "plain", [["seed=3"]], "sampler=ahns", "trainer.engine=reference")
    assert fast.run_id == plain.run_id
    mine, theirs = fast.results()["test_peak"]["test"], plain.results()["test_peak"]["test"]
    assert all(abs(mine[metric] - theirs[metric]) < 0.02 for metric in mine)
    first, other = fast.progress.rows[0], plain.progress.rows[0]
    assert abs(first["train/loss"] - other["train/loss"]) < 1e-6


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("sampler", sorted(CASES))
def test_every_sampler_trains_the_same_alone_and_in_a_pack(tmp_path, sampler, engine):
    overrides = [
        f"sampler={sampler}",
        "tuned=none",
        "dataset.users=50",
        "trainer.epochs=3",
        "model.D=16",
    ]
    overrides += ALONE.get(sampler, [])
    if engine == "reference" and sampler in MANY:
        overrides += ["sampler.K=16"]
    variants = [["seed=1"], ["seed=2", "trainer.lr=0.02"]]
    packed = train(tmp_path / "pack", variants, *overrides, f"trainer.engine={engine}")
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *overrides, f"trainer.engine={engine}")
        assert alone.failure is None and comparable(alone) == comparable(packed[place])
    full = [row["train/loss"] for row in packed[1].progress.rows if row["stage"] == "full"]
    assert full[-1] < full[0]
