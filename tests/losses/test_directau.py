"""DirectAU's loss against a slow formula, pair by pair; its gradient, and what is refused."""

import itertools
import math

import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.kernels import Engine
from hapens_bench.launch.validate import check
from hapens_bench.losses.base import Scored
from hapens_bench.losses.directau import uniformity
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.training.build import build
from tests.conftest import make_config

T, U, I, D, B = 3, 9, 12, 8, 11
GAMMAS = (0.2, 1, 5)


def unit(x):
    return x / (x @ x).sqrt()


def slow_uniformity(rows):
    """The mean over all pairs of different rows, of which none is counted twice."""
    pairs = list(itertools.combinations(rows, 2))
    total = sum(torch.exp(-2 * ((a - b) @ (a - b))) for a, b in pairs)
    return torch.log(total / len(pairs))


def slow(users, items, chosen, gamma):
    """The loss of one trial, in float64."""
    x = [unit(users[u]) for u, _ in chosen]
    y = [unit(items[i]) for _, i in chosen]
    align = sum((a - b) @ (a - b) for a, b in zip(x, y, strict=True)) / len(chosen)
    return align + gamma * (slow_uniformity(x) + slow_uniformity(y)) / 2


@pytest.fixture
def scene():
    """Tables, a batch in which users and items recur, and the draws for hardness."""
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(T, n, D, generator=generator) for n in (U, I)]
    users = torch.randint(U, (T, B), generator=generator)
    items = torch.randint(I, (T, B), generator=generator)
    drawn = Negatives(torch.randint(I, (T, B, 1), generator=generator))
    return tables, Batch(users, items, torch.tensor(0), torch.tensor(0), 1), drawn


def make(trials=slice(None)):
    configs = [make_config("sampler=directau", f"loss.gamma={g}")["loss"] for g in GAMMAS]
    return build(configs[trials])


def scored(tables, batch, drawn, engine, trials=slice(None)):
    leaves = [table[trials].clone().requires_grad_() for table in tables]
    encoded = Encoded(*leaves, engine)
    batch = Batch(batch.users[trials], batch.items[trials], batch.epoch, batch.step, 1)
    result = make(trials).score(encoded, encoded, batch, Negatives(drawn.items[trials]))
    result.losses.mean(-1).sum().backward()
    detached = Scored(*(x.detach() for x in vars(result).values()))
    return detached, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_loss_and_gradient_equal_the_slow_formula(scene, engine):
    tables, batch, drawn = scene
    result, gradients = scored(*scene, engine)
    for t, gamma in enumerate(GAMMAS):
        own = [table[t].double().requires_grad_() for table in tables]
        chosen = list(zip(batch.users[t].tolist(), batch.items[t].tolist(), strict=True))
        expected = slow(*own, chosen, gamma)
        assert float(result.losses[t].mean()) == pytest.approx(expected.item(), rel=1e-5)
        for mine, theirs in zip(gradients, torch.autograd.grad(expected, own), strict=True):
            assert torch.allclose(mine[t].double(), theirs, atol=1e-5)
        for b, (u, i) in enumerate(chosen):
            q, v, j = tables[0][t, u], tables[1][t, i], tables[1][t, drawn.items[t, b, 0]]
            assert float(result.positive[t, b]) == pytest.approx(float(q @ v), abs=1e-5)
            assert float(result.negative[t, b, 0]) == pytest.approx(float(q @ j), abs=1e-5)
            assert float(result.squares[t, b]) == pytest.approx(float(q @ q + v @ v) / 2, rel=1e-5)


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_a_trial_has_the_same_bits_alone_as_in_a_pack(scene, engine):
    packed, gradients = scored(*scene, engine)
    for t in range(T):
        trial = slice(t, t + 1)
        alone, own = scored(*scene, engine, trial)
        assert torch.equal(alone.losses, packed.losses[trial])
        assert all(torch.equal(a, g[trial]) for a, g in zip(own, gradients, strict=True))


def test_the_draws_do_not_change_the_loss(scene):
    tables, batch, drawn = scene
    other = Negatives((drawn.items + 1) % I)
    (one, _), (two, _) = (scored(tables, batch, x, Engine.PLAIN) for x in (drawn, other))
    assert torch.equal(one.losses, two.losses) and not torch.equal(one.negative, two.negative)


def test_uniformity_of_known_arrangements():
    corners = torch.tensor([[[1.0, 0], [0, 1], [-1, 0], [0, -1]]])  # distances: sqrt 2 and 2
    expected = math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6)
    assert float(uniformity(corners)) == pytest.approx(expected)
    assert float(uniformity(corners[:, [0, 0, 0]])) == pytest.approx(0, abs=1e-6)
    assert float(uniformity(corners[:, :1])) == 0, "a batch of one row has no pair"


def test_a_sampler_with_negatives_is_refused_and_so_is_another_loss():
    said = "loss=directau has no negatives, so sampler=dns would draw for nothing; take sampler="
    with pytest.raises(UserError, match=said + "directau"):
        check(make_config("sampler=dns", "loss=directau"))
    said = "sampler=directau draws nothing for the loss, but loss=bpr needs negatives; take loss="
    with pytest.raises(UserError, match=said + "directau"):
        check(make_config("sampler=directau", "loss=bpr"))
    with pytest.raises(UserError, match="works on user groups, but loss=directau on interactions"):
        check(make_config("sampler=enmf", "loss=directau"))
    for model in ("mf", "gmf", "lightgcn", "lightgcnpp", "ngcf"):
        check(make_config("sampler=directau", f"model={model}"))
