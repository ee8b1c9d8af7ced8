"""`trainer.norm_cap` and `weight_decay`, and `protocol.negatives=exclude_held_out`."""

import numpy as np
import pytest
import torch

from hapens_bench.cli.main import main
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.training.pack import Pack
from hapens_bench.training.stage import Stage
from tests.conftest import make_config
from tests.launch.sweeps import assert_equal, sweep

CPU = torch.device("cpu")
LEAK = "protocol.negatives=exclude_held_out"
SMALL = ("dataset.users=60", "dataset.items=300", "trainer.batch_size=64")


@pytest.mark.parametrize("model", ["mf", "gmf", "lightgcn", "ngcf"])
def test_no_row_is_longer_than_its_trials_cap(tmp_path, model):
    saved = ["trainer.best_model=true", "protocol.selection=[valid]", "trainer.lr=0.1"]
    caps = {"0.3": 0.3, "1": 1.0, "null": np.inf}
    variants = [[f"trainer.norm_cap={cap}", "seed=0"] for cap in caps]
    _, jobs = sweep(tmp_path, variants, f"model={model}", *saved)
    longest = []
    for job, cap in zip(jobs, caps.values(), strict=True):
        arrays = job.folder.read_arrays("model")
        tables = (arrays[f"model.{name}"] for name in ("user", "item"))
        longest.append(max(np.linalg.norm(table, axis=-1).max() for table in tables))
        assert longest[-1] <= cap * (1 + 1e-6)
    assert longest[2] > 1 and len({job.folder.path for job in jobs}) == 3


def test_a_trial_is_the_same_alone_and_beside_trials_of_other_caps(tmp_path):
    caps = ["0.5", "null", "0.2"]
    _, together = sweep(tmp_path / "a", [[f"trainer.norm_cap={cap}"] for cap in caps])
    assert together[0].folder.read_frame("history")["pack_size"].max() == 3
    _, alone = sweep(tmp_path / "b", [[f"trainer.norm_cap={cap}"] for cap in caps], max_trials=1)
    assert_equal(together, alone)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_a_trial_is_the_same_alone_and_beside_trials_of_other_weight_decays(tmp_path, engine):
    variants = [[f"trainer.weight_decay={decay}"] for decay in ("0", "1e-3", "0.1")]
    settings = ["sampler=rns", f"trainer.engine={engine}"]
    _, together = sweep(tmp_path / "a", variants, *settings)
    assert together[0].folder.read_frame("history")["pack_size"].max() == 3
    _, alone = sweep(tmp_path / "b", variants, *settings, max_trials=1)
    assert_equal(together, alone)
    losses = [job.folder.read_frame("history")["train/loss"].iloc[-1] for job in together]
    assert len(set(losses)) == 3


def test_a_sampler_with_its_own_rate_does_not_decay():
    config = make_config("sampler=irgan", "trainer.weight_decay=0.1")
    pack = Pack([config], 5, 7, CPU)
    decays = dict(zip(pack.parameters(), pack.optimizer.weight_decay, strict=True))
    assert all(
        bool((decay == (0.1 if name.startswith("model.") else 0)).all())
        for name, decay in decays.items()
    )
    assert any(name.startswith("sampler.") for name in decays)


def test_a_weight_decay_below_zero_is_refused():
    with pytest.raises(UserError, match=r"trainer\.weight_decay is -0\.1"):
        check(make_config("trainer.weight_decay=-0.1"))


def test_a_cap_of_zero_is_refused():
    with pytest.raises(UserError, match=r"trainer\.norm_cap is 0"):
        check(make_config("trainer.norm_cap=0"))


@pytest.mark.parametrize("sampler", ["rns", "dns", "aobpr", "pns", "irgan_minimax", "gdns"])
def test_a_held_out_item_is_never_drawn_where_that_is_asked_for(tmp_path, sampler):
    for leak in (True, False):
        words = [f"sampler={sampler}", *SMALL, *([LEAK] if leak else [])]
        config = make_config(*words, "trainer.drop_last=false")
        split = load(config["dataset"], config["protocol"], tmp_path, None)
        held = {tuple(pair) for pair in np.concatenate([split.valid, split.test]).tolist()}
        stage = Stage("held", config, split, CPU)
        loop, drawn = stage.loop(stage.pack([config])), []
        add = loop.meter.add

        def note(users, positive, negative, items, add=add, drawn=drawn):
            who = users[0].repeat_interleave(items.shape[-1])
            drawn += zip(who.tolist(), items[0].flatten().tolist())
            add(users, positive, negative, items)

        loop.meter.add = note
        for epoch in range(3):
            loop.run(epoch)
        known = {tuple(pair) for pair in split.train.tolist()}
        assert drawn and not known & set(drawn)
        assert bool(held & set(drawn)) != leak


def test_a_table_of_ones_own_shows_the_leak_only_when_it_is_named(tmp_path, capsys):
    sweep(tmp_path, [["sampler=rns"], ["sampler=dns", LEAK]])
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--no-archive"]
    capsys.readouterr()
    assert main(["table", "--rows", "sampler", *folders]) == 0
    said = capsys.readouterr()
    assert "1 runs with protocol.negatives=exclude_held_out" in said.err and "dns" not in said.out
    named = ["--where", "protocol.negatives=exclude_held_out"]
    assert main(["table", "--rows", "sampler", *folders, *named]) == 0
    assert "dns" in capsys.readouterr().out
