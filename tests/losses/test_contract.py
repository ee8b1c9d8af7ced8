"""Every loss is under this contract: equality with a slow formula, for one and for several negatives."""

import math

import pytest
import torch

from hapens_bench.config import check, conf_dir
from hapens_bench.errors import UserError
from hapens_bench.training.pack import build
from tests.conftest import make_config


def bpr(pos: float, negs: list[float]) -> float:
    return math.log(1 + sum(math.exp(neg - pos) for neg in negs))


def bpr_sum(pos: float, negs: list[float], weights: list[float] | None = None) -> float:
    return sum(w * math.log(1 + math.exp(neg - pos)) for w, neg in zip(weights or [1.0] * len(negs), negs))


def sampled_softmax(pos: float, negs: list[float]) -> float:
    tau = 0.2
    whole = math.exp(pos / tau) + sum(math.exp(neg / tau) for neg in negs)
    return -math.log(math.exp(pos / tau) / whole)


CASES = {"bpr": (bpr, []), "bpr_sum": (bpr_sum, []), "sampled_softmax": (sampled_softmax, ["loss.tau=0.2"])}


def test_every_loss_has_a_contract():
    assert sorted(CASES) == sorted(path.stem for path in (conf_dir() / "loss").rglob("*.yaml"))


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", sorted(CASES))
def test_equal_to_the_slow_formula(name, K):
    rule, overrides = CASES[name]
    loss = build([make_config(f"loss={name}", *overrides)["loss"]] * 2)
    generator = torch.Generator().manual_seed(0)
    pos = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    neg = torch.randn(2, 5, K, generator=generator, dtype=torch.float64)
    got = loss(pos, neg)
    assert got.shape == (2, 5)
    for t in range(2):
        for b in range(5):
            assert math.isclose(got[t, b], rule(float(pos[t, b]), neg[t, b].tolist()), rel_tol=1e-6)


def test_bpr_is_minus_log_sigmoid_and_does_not_overflow():
    loss = build([make_config("loss=bpr")["loss"]])
    pos, neg = torch.tensor([[0.3, -2.0]]), torch.tensor([[[1.1], [0.2]]])
    assert torch.allclose(loss(pos, neg), -torch.nn.functional.logsigmoid(pos - neg[..., 0]))
    assert loss(torch.tensor([[0.0]]), torch.tensor([[[500.0, 500.0]]])).isfinite().all()


def test_weights_weigh_and_are_refused_by_losses_that_take_none():
    loss = build([make_config("loss=bpr_sum")["loss"]])
    pos, neg, weights = torch.tensor([[0.5]]), torch.tensor([[[0.1, 2.0]]]), torch.tensor([[[0.25, 0.75]]])
    assert math.isclose(loss(pos, neg, weights), bpr_sum(0.5, [0.1, 2.0], [0.25, 0.75]), rel_tol=1e-6)
    with pytest.raises(UserError, match="sampler=softmax gives weights, but loss=bpr takes none"):
        check(make_config("sampler=softmax", "loss=bpr"))
    check(make_config("sampler=softmax", "sampler.take=one", "loss=bpr"))


def test_identities():
    generator = torch.Generator().manual_seed(1)
    pos, one = torch.randn(1, 9, generator=generator), torch.randn(1, 9, 1, generator=generator)
    several = torch.randn(1, 9, 4, generator=generator)
    names = (["loss=bpr"], ["loss=bpr_sum"], ["loss=sampled_softmax", "loss.tau=1"])
    bpr, total, softmax = (build([make_config(*overrides)["loss"]]) for overrides in names)
    assert torch.allclose(bpr(pos, one), total(pos, one)) and torch.allclose(bpr(pos, one), softmax(pos, one))
    assert torch.allclose(bpr(pos, several), softmax(pos, several))
