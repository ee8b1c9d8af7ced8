"""The training loop against the official log of AHNS on Tools (METHODS 11.1)."""

import pytest
import torch

from hapens_bench.data.load import load
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.training.trainer import Trainer
from hapens_bench.training.trial import Trial
from tests.conftest import make_config


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_sums_of_ahns_on_tools(mirror, tmp_path, seed):
    overrides = ["protocol.selection=[test_peak]", "trainer.epochs=6", f"seed={seed}"]
    config = make_config("dataset=tools", "sampler=ahns", *overrides)
    assert {k: config["sampler"][k] for k in ("p", "alpha", "beta", "M")} == {
        "p": -2,
        "alpha": 1,
        "beta": 0.1,
        "M": 32,
    }
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    trial = Trial(config, RunFolder(tmp_path / "run"), SafeSinks([]))
    Trainer([trial], split, torch.device("cpu")).run()
    steps = len(split.full_train) // 2048
    sums = [steps * row["train/loss"] for row in trial.progress.rows]
    assert steps == 52
    assert abs(sums[0] - 36.10) <= 0.05 and abs(sums[5] - 35.57) <= 0.05
