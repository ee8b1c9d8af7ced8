"""The contract that every loss is under: equality with a slow formula.

It holds for one and for several negatives.
"""

import math

import pytest
import torch

from hapens_bench.config.identity import run_id
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.training.build import build
from tests.conftest import make_config


def bpr(pos: float, negs: list[float]) -> float:
    return math.log(1 + sum(math.exp(neg - pos) for neg in negs))


def bpr_sum(pos: float, negs: list[float], weights: list[float] | None = None) -> float:
    return sum(
        w * math.log(1 + math.exp(neg - pos)) for w, neg in zip(weights or [1.0] * len(negs), negs)
    )


def sampled_softmax(pos: float, negs: list[float]) -> float:
    tau = 0.2
    whole = math.exp(pos / tau) + sum(math.exp(neg / tau) for neg in negs)
    return -math.log(math.exp(pos / tau) / whole)


def soft_bpr(pos: float, negs: list[float]) -> float:
    a = 0.7
    return math.log(1 + sum(math.exp((1 - a) * (neg - pos)) for neg in negs))


def hard_bpr(pos: float, negs: list[float]) -> float:
    a, b, c = 0.5, -1.5, 0.6
    return sum(-math.log((a + sigmoid(c * (pos - neg) - b)) / (1 + a)) for neg in negs)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def hinge(pos: float, negs: list[float]) -> float:
    return sum(max(0.0, neg - pos + 0.7) for neg in negs)


def sl(pos: float, negs: list[float]) -> float:
    tau = 0.3
    return math.log(sum(math.exp((neg - pos) / tau) for neg in negs))


def bsl(pos: float, negs: list[float]) -> float:
    tau1, tau2 = 0.2, 0.5
    below = sum(math.exp(neg / tau2) for neg in negs) ** (tau2 / tau1)
    return -math.log(math.exp(pos / tau1) / below)


SIGMA = {
    "tanh": lambda d: math.tanh(d) + 1,
    "atan": lambda d: math.atan(d) + 1,
    "relu": lambda d: max(0.0, d + 1),
}


def psl(pos: float, negs: list[float], activation: str = "tanh") -> float:
    tau, scale = 0.5, 4.0
    total = sum(SIGMA[activation]((neg - pos) / scale) ** (1 / tau) for neg in negs)
    return math.log(total)


def ccl(pos: float, negs: list[float]) -> float:
    m, w = 0.2, 7.0
    return max(0.0, 1 - pos) + w * sum(max(0.0, neg - m) for neg in negs) / len(negs)


CASES = {
    "sl": (sl, ["loss.tau=0.3"]),
    "bsl": (bsl, ["loss.tau1=0.2", "loss.tau2=0.5"]),
    "psl": (psl, ["loss.tau=0.5", "loss.scale=4"]),
    "ccl": (ccl, ["loss.m=0.2", "loss.w=7"]),
    "bpr": (bpr, []),
    "bpr_sum": (bpr_sum, []),
    "sampled_softmax": (sampled_softmax, ["loss.tau=0.2"]),
    "soft_bpr": (soft_bpr, ["loss.factor=0.3"]),
    "hinge": (hinge, ["loss.gamma=0.7"]),
    "hard_bpr": (hard_bpr, ["loss.a=0.5", "loss.b=-1.5", "loss.c=0.6"]),
}


OWN = ["sl_at_k"]  # with a state of its own; tests/losses/test_sl_at_k.py
GROUPS = ["whole_data", "group_hinge", "worst_case"]  # of users; tests/losses/test_groups.py
WITHOUT = ["directau"]  # without negatives; tests/losses/test_directau.py
SEVERAL = ["var_bpr"]  # of several positives; tests/losses/test_var_bpr.py


def test_every_loss_has_a_contract():
    assert sorted([*CASES, *OWN, *GROUPS, *SEVERAL, *WITHOUT, "none"]) == sorted(
        path.stem for path in (conf_dir() / "loss").rglob("*.yaml")
    )


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


@pytest.mark.parametrize("K", [1, 4])
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_gradient_is_that_of_the_slow_formula(name, K):
    """Central differences of the formula in float64, score by score."""
    rule, overrides = CASES[name]
    loss = build([make_config(f"loss={name}", *overrides)["loss"]]).double()
    generator = torch.Generator().manual_seed(K)
    scores = torch.randn(1, 3, K + 1, generator=generator, dtype=torch.float64).requires_grad_()
    (slopes,) = torch.autograd.grad(loss(scores[..., 0], scores[..., 1:]).sum(), scores)
    for b in range(3):
        for k in range(K + 1):
            ends = []
            for step in (1e-5, -1e-5):
                row = scores.detach()[0, b].clone()
                row[k] += step
                ends.append(rule(float(row[0]), row[1:].tolist()))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(slopes[0, b, k]) == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("activation", sorted(SIGMA))
def test_psl_has_each_activation_and_bounds_those_that_vanish(activation):
    keys = "loss.tau=0.5", "loss.scale=4", f"loss.activation={activation}"
    loss = build([make_config("loss=psl", *keys)["loss"]]).double()
    pos, neg = torch.tensor([[0.4]]).double(), torch.tensor([[[-0.9, 0.1, 2.0]]]).double()
    assert float(loss(pos, neg)) == pytest.approx(psl(0.4, [-0.9, 0.1, 2.0], activation))
    far = torch.tensor([[1000.0]], dtype=torch.float64, requires_grad=True)
    value = loss(far, torch.tensor([[[-1000.0, -999.0]]], dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), far)
    assert value.isfinite().all() and slope.isfinite().all()


def test_identities_of_the_softmax_family():
    def loss(*overrides):
        return build([make_config(*overrides)["loss"]])

    generator = torch.Generator().manual_seed(4)
    pos, neg = torch.rand(1, 9, generator=generator), torch.rand(1, 9, 5, generator=generator)
    sl = loss("loss=sl", "loss.tau=0.3")(pos, neg)
    equal = loss("loss=bsl", "loss.tau1=0.3", "loss.tau2=0.3")(pos, neg)
    assert torch.allclose(equal, sl, atol=1e-5)
    with_positive = loss("loss=sampled_softmax", "loss.tau=0.3")(pos, neg)
    assert torch.allclose(with_positive, torch.nn.functional.softplus(sl), atol=1e-5)
    small = 1e-3  # where tanh(d) + 1 is e^d
    psl = loss("loss=psl", "loss.scale=2", f"loss.tau={0.15}")(small * pos, small * neg)
    close = loss("loss=sl", f"loss.tau={0.3}")(small * pos, small * neg)
    assert torch.allclose(psl, close, atol=1e-4)
    weights = torch.rand(1, 9, 5, generator=generator)
    weighted = loss("loss=sl", "loss.tau=1")(pos, neg, weights)
    total = (weights * (neg - pos[..., None]).exp()).sum(-1)
    assert torch.allclose(weighted, total.log(), atol=1e-5)


def test_bpr_is_minus_log_sigmoid_and_does_not_overflow():
    loss = build([make_config("loss=bpr")["loss"]])
    pos, neg = torch.tensor([[0.3, -2.0]]), torch.tensor([[[1.1], [0.2]]])
    assert torch.allclose(loss(pos, neg), -torch.nn.functional.logsigmoid(pos - neg[..., 0]))
    assert loss(torch.tensor([[0.0]]), torch.tensor([[[500.0, 500.0]]])).isfinite().all()


def test_weights_weigh_and_are_refused_by_losses_that_take_none():
    loss = build([make_config("loss=bpr_sum")["loss"]])
    pos, neg, weights = (
        torch.tensor([[0.5]]),
        torch.tensor([[[0.1, 2.0]]]),
        torch.tensor([[[0.25, 0.75]]]),
    )
    assert math.isclose(
        loss(pos, neg, weights), bpr_sum(0.5, [0.1, 2.0], [0.25, 0.75]), rel_tol=1e-6
    )
    with pytest.raises(UserError, match="sampler=softmax gives weights, but loss=bpr takes none"):
        check(make_config("sampler=softmax", "loss=bpr"))
    check(make_config("sampler=softmax", "sampler.take=one", "loss=bpr"))


def test_the_sampled_softmax_takes_weights_into_the_logarithm():
    loss = build([make_config("loss=sampled_softmax", "loss.tau=0.5")["loss"]])
    pos, neg, w = 0.5, [0.1, 2.0, 9.0], [0.25, 3.0, 0.0]
    negative = torch.tensor([[neg]], requires_grad=True)
    got = loss(torch.tensor([[pos]]), negative, torch.tensor([[w]]))
    total = sum(x * math.exp((s - pos) / 0.5) for x, s in zip(w, neg, strict=True))
    assert math.isclose(got.item(), math.log(1 + total), rel_tol=1e-6)
    got.sum().backward()
    assert negative.grad.isfinite().all() and negative.grad[0, 0, 2] == 0
    none = loss(torch.tensor([[pos]]), negative[..., :1], torch.zeros(1, 1, 1))
    assert none.item() == 0, "a positive without a negative"


def test_identities():
    generator = torch.Generator().manual_seed(1)
    pos, single = torch.randn(1, 9, generator=generator), torch.randn(1, 9, 1, generator=generator)
    several = torch.randn(1, 9, 4, generator=generator)
    names = (["loss=bpr"], ["loss=bpr_sum"], ["loss=sampled_softmax", "loss.tau=1"])
    bpr, total, softmax = (build([make_config(*overrides)["loss"]]) for overrides in names)
    assert torch.allclose(bpr(pos, single), total(pos, single)) and torch.allclose(
        bpr(pos, single), softmax(pos, single)
    )
    assert torch.allclose(bpr(pos, several), softmax(pos, several))


def test_soft_bpr_is_bpr_at_one_else_bpr_against_a_mix_with_the_positive():
    generator = torch.Generator().manual_seed(2)
    bpr, unmixed, soft = (
        build([make_config(*overrides)["loss"]])
        for overrides in (
            ["loss=bpr"],
            ["loss=soft_bpr", "loss.factor=1"],
            ["loss=soft_bpr", "loss.factor=0.25"],
        )
    )
    for K in (1, 4):
        pos, neg = torch.randn(1, 9, generator=generator), torch.randn(1, 9, K, generator=generator)
        assert torch.equal(unmixed(pos, neg), bpr(pos, neg))
        mixed = 0.75 * pos[..., None] + 0.25 * neg  # the score of a e_i + (1 - a) e_j, a = 0.75
        assert torch.allclose(soft(pos, neg), bpr(pos, mixed))


def test_hard_bpr_without_a_and_b_is_soft_bpr_and_with_a_it_fades():
    def loss(*overrides):
        return build([make_config(*overrides)["loss"]])

    generator = torch.Generator().manual_seed(3)
    pos, neg = (
        5 * torch.randn(1, 9, generator=generator),
        5 * torch.randn(1, 9, 1, generator=generator),
    )
    plain = [
        loss("loss=hard_bpr", "loss.a=0", "loss.b=0", f"loss.c={c}")(pos, neg) for c in (1, 0.3)
    ]
    assert torch.allclose(plain[0], loss("loss=bpr")(pos, neg), atol=1e-6)
    assert torch.allclose(plain[1], loss("loss=soft_bpr", "loss.factor=0.3")(pos, neg), atol=1e-6)
    x = torch.tensor([[-500.0, -30.0, -1.0, 1.0, 30.0, 500.0]], requires_grad=True)
    for overrides in ([], ["loss.a=0", "loss.b=0", "loss.c=1"]):
        values = loss("loss=hard_bpr", *overrides)(x, torch.zeros(1, 6, 1))
        (slope,) = torch.autograd.grad(values.sum(), x)
        assert values.isfinite().all() and slope.isfinite().all() and (slope <= 0).all()
        hardest, hard = slope[0, 0].abs(), slope[0, 2].abs()
        assert hard > 0.05 and (hardest < 1e-6 if not overrides else hardest > 0.99)


@pytest.mark.parametrize(("a", "b", "c"), [(0.5, -1.0, 1.0), (1.0, 1.0, 0.8), (0.1, 0.4, 2.5)])
def test_the_gradient_of_hard_bpr_is_that_of_its_formula(a, b, c):
    """d/dx of -ln[(a + sigma(c x - b)) / (1 + a)], worked out by hand, in float64."""
    keys = f"loss.a={a}", f"loss.b={b}", f"loss.c={c}"
    loss = build([make_config("loss=hard_bpr", *keys)["loss"]]).double()
    points = [-4.0, -1.0, 0.0, 0.7, 5.0]
    x = torch.tensor([points], dtype=torch.float64, requires_grad=True)
    values = loss(x, torch.zeros(1, 5, 1, dtype=torch.float64))
    (slopes,) = torch.autograd.grad(values.sum(), x)
    for point, value, slope in zip(points, values[0].tolist(), slopes[0].tolist(), strict=True):
        p = sigmoid(c * point - b)
        assert value == pytest.approx(-math.log((a + p) / (1 + a)), rel=1e-6)
        assert slope == pytest.approx(-c * p * (1 - p) / (a + p), rel=1e-6)


def test_hard_bpr_of_earlier_runs_has_the_other_sign_and_their_ids():
    def config(*overrides):
        return make_config("sampler=hard_bpr", *overrides)

    minus, plus = config(), config("loss.b=-1", "loss.form=plus")
    pos, neg = torch.tensor([[0.3, -2.0, 4.0]]), torch.tensor([[[1.1], [0.2], [5.0]]])
    assert torch.equal(build([minus["loss"]])(pos, neg), build([plus["loss"]])(pos, neg))
    earlier = {**plus, "loss": {k: v for k, v in plus["loss"].items() if k != "form"}}
    assert run_id(earlier) == run_id(plus) == "3e37b942105b"
    assert run_id(config("loss.b=-1")) != run_id(plus), "the same numbers in another formula"


def test_a_pack_gives_each_trial_its_own_numbers():
    sections = [
        make_config("loss=soft_bpr", f"loss.factor={factor}")["loss"] for factor in (0.1, 0.4)
    ]
    pos, neg = torch.tensor([[0.5, 1.0]] * 2), torch.tensor([[[0.1], [2.0]]] * 2)
    packed = build(sections)(pos, neg)
    for t, section in enumerate(sections):
        assert torch.equal(build([section])(pos[:1], neg[:1])[0], packed[t])
    assert not torch.equal(packed[0], packed[1])
