"""Every loss is under this contract: equality with a slow formula, for one and for several negatives."""

import math

import pytest
import torch

from hapens_bench.config import conf_dir
from hapens_bench.training.pack import build
from tests.conftest import make_config


def bpr(pos: float, negs: list[float]) -> float:
    return math.log(1 + sum(math.exp(neg - pos) for neg in negs))


CASES = {"bpr": bpr}


def test_every_loss_has_a_contract():
    assert sorted(CASES) == sorted(path.stem for path in (conf_dir() / "loss").rglob("*.yaml"))


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", sorted(CASES))
def test_equal_to_the_slow_formula(name, K):
    loss = build([make_config(f"loss={name}")["loss"]] * 2)
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    neg = torch.randn(2, 5, K, generator=generator, dtype=torch.float64)
    got = loss(pos, neg)
    assert got.shape == (2, 5)
    for t in range(2):
        for b in range(5):
            assert math.isclose(got[t, b], CASES[name](float(pos[t, b]), neg[t, b].tolist()), rel_tol=1e-12)


def test_bpr_is_minus_log_sigmoid_and_does_not_overflow():
    loss = build([make_config("loss=bpr")["loss"]])
    pos, neg = torch.tensor([[0.3, -2.0]]), torch.tensor([[[1.1], [0.2]]])
    assert torch.allclose(loss(pos, neg), -torch.nn.functional.logsigmoid(pos - neg[..., 0]))
    assert loss(torch.tensor([[0.0]]), torch.tensor([[[500.0, 500.0]]])).isfinite().all()
