"""VarBPR's loss against a slow formula, written as the paper and its code have it."""

import math

import numpy as np
import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.pack import build
from tests.conftest import make_config

T, U, I, D, B, M, N = 2, 6, 20, 4, 9, 3, 5
PRIORS = {"pos_rarity": 0.7, "pos_hardness": 0.3, "neg_popularity": 0.4, "neg_hardness": 0.6}


def normalised(weights: list[float]) -> list[float]:
    return [w / sum(weights) for w in weights]


def slow(s_i, s_j, degrees_i, degrees_j, most, keys) -> float:
    def popularity(degree: int) -> float:
        return math.log1p(degree + 1) / math.log1p(most + 1)

    tau, mean_i, mean_j = keys["tau"], sum(s_i) / len(s_i), sum(s_j) / len(s_j)
    hard_i = normalised([math.exp((mean_i - s) / tau) for s in s_i])
    hard_j = normalised([math.exp((s - mean_j) / tau) for s in s_j])
    alpha = normalised(
        [
            math.exp(s / keys["c_pos"])
            * max(1 - popularity(d), 1e-12) ** keys["pos_rarity"]
            * h ** keys["pos_hardness"]
            for s, d, h in zip(s_i, degrees_i, hard_i, strict=True)
        ]
    )
    beta = normalised(
        [
            math.exp(-s / keys["c_neg"])
            * popularity(d) ** keys["neg_popularity"]
            * h ** keys["neg_hardness"]
            for s, d, h in zip(s_j, degrees_j, hard_j, strict=True)
        ]
    )
    if keys["form"] == "exact":
        return sum(
            a * b * math.log1p(math.exp(n - p))
            for a, p in zip(alpha, s_i, strict=True)
            for b, n in zip(beta, s_j, strict=True)
        )
    gap = sum(map(math.prod, zip(beta, s_j))) - sum(map(math.prod, zip(alpha, s_i)))
    return math.log1p(math.exp(gap))


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    pairs = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.4).astype(np.int64)
    encoded = Encoded(
        torch.randn(T, U, D, generator=generator), torch.randn(T, I, D, generator=generator)
    )
    users = torch.randint(U, (T, B), generator=generator)
    items = torch.randint(I, (T, B, M + N), generator=generator)
    batch = Batch(users, items[..., 0], torch.tensor(0), torch.tensor(0), 1)
    return pairs, encoded, batch, items


def sections(*overrides):
    keys = [f"loss.{key}={value}" for key, value in PRIORS.items()]
    return [
        make_config("loss=var_bpr", *keys, f"loss.c_neg={c}", *overrides)["loss"] for c in (2, 4)
    ]


@pytest.mark.parametrize("form", ["plugin", "exact"])
def test_equal_to_the_slow_formula_and_l2_is_of_all_rows(scene, form):
    pairs, encoded, batch, items = scene
    configs = sections(f"loss.form={form}")
    loss = build(configs)
    loss.start(Positives(pairs, U, I))
    drawn = Negatives(items[..., M:], positives=items[..., :M])
    scored = loss.score(encoded, encoded, batch, drawn)
    degree = np.bincount(pairs[:, 1], minlength=I).tolist()
    for t in range(T):
        for b in range(B):
            u = encoded.users[t, batch.users[t, b]].double()
            rows = encoded.items[t, items[t, b]].double()
            s, degrees = (rows @ u).tolist(), [degree[j] for j in items[t, b].tolist()]
            expected = slow(s[:M], s[M:], degrees[:M], degrees[M:], max(degree), configs[t])
            assert float(scored.losses[t, b]) == pytest.approx(expected, rel=1e-4)
            assert float(scored.positive[t, b]) == pytest.approx(s[0], abs=1e-5)
            squares = float(u @ u + rows.square().sum()) / 2
            assert float(scored.squares[t, b]) == pytest.approx(squares, rel=1e-5)


def test_the_exact_form_is_never_smaller_and_one_positive_and_negative_are_bpr(scene):
    pairs, encoded, batch, items = scene
    losses = {}
    for form in ("plugin", "exact"):
        loss = build(sections(f"loss.form={form}"))
        loss.start(Positives(pairs, U, I))
        several = Negatives(items[..., M:], positives=items[..., :M])
        losses[form] = loss.score(encoded, encoded, batch, several).losses
        one = loss.score(encoded, encoded, batch, Negatives(items[..., M : M + 1])).losses
        bpr = build([make_config("loss=bpr")["loss"]] * 2)
        plain = bpr.score(encoded, encoded, batch, Negatives(items[..., M : M + 1])).losses
        assert torch.allclose(one, plain, atol=1e-6)
    assert bool((losses["exact"] >= losses["plugin"] - 1e-6).all())


def test_the_weights_have_no_gradient(scene):
    pairs, _, _, _ = scene
    loss = build(sections())
    loss.start(Positives(pairs, U, I))
    positive = torch.randn(T, B, M, requires_grad=True)
    negative, zero = torch.randn(T, B, N), torch.zeros(T, B, 1)
    loss(positive, negative, zero, zero).sum().backward()
    slopes = positive.grad / positive.grad.sum(-1, keepdim=True)
    alpha = torch.softmax(loss.pos_slope * positive, -1)
    assert torch.allclose(slopes, alpha, atol=1e-5)


def test_several_positives_are_refused_by_other_losses():
    with pytest.raises(UserError, match="gives several positives, but loss=bpr takes one"):
        check(make_config("sampler=var_bpr", "loss=bpr"))
    check(make_config("sampler=var_bpr", "sampler.M=1", "loss=bpr"))
    check(make_config("sampler=dns", "loss=var_bpr"))
