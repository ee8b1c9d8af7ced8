"""Samplers with a generator: what it learns, and that nothing else learns from it."""

import math

import pytest
import torch
from torch.nn import functional as F

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.models.mf import MF
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.training.build import build_sampler
from tests.conftest import make_config

T, U, I, D = 2, 4, 12, 8
SEEDS = [1, 2]
REWARDS = {
    "irgan": lambda s: 2 * (torch.sigmoid(s) - 0.5),
    "rns_as": lambda s: -torch.sigmoid(-s),
    "advir": lambda s: s,
}
ENGINES = [Engine.PLAIN, Engine.NUMBA]


def make(name, M, *overrides):
    """Return a sampler whose generator is far from uniform, and a recommender that trains."""
    quiet = (
        ["sampler.lam=0"]
        if name == "advir" and not any("lam" in text for text in overrides)
        else []
    )
    section = make_config(
        f"sampler={name}", f"sampler.M={M}", "sampler.start=scratch", *quiet, *overrides
    )["sampler"]
    sampler = build_sampler([section] * T, SEEDS, D, U, I)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for table in sampler.generator.parameters():
            table.copy_(torch.randn(table.shape, generator=generator))
    tables = [torch.randn(T, n, D, generator=generator).requires_grad_() for n in (U, I)]
    return sampler, tables


def draw(sampler, tables, pool, users, engine=Engine.PLAIN, step=0):
    batch = Batch(users, users + 1, torch.tensor(0), torch.tensor(step), 1)
    return sampler.draw(batch, Encoded(*tables, engine), pool, Streams(SEEDS, Purpose.SAMPLER))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", sorted(REWARDS))
def test_the_generators_gradient_is_that_of_the_expected_reward(name, engine):
    """REINFORCE, averaged over many draws, equals the exact gradient.

    It may be off by no more than its own standard error allows.
    """
    B, candidates, tau = 60_000, torch.tensor([2, 5, 7, 8, 11]), 1.5
    sampler, tables = make(name, len(candidates), "sampler.l2=0", f"sampler.temperature={tau}")
    if name == "rns_as":
        sampler.mean_reward += torch.tensor([[-0.4], [-0.9]])  # a baseline must not bias it
    drawn = draw(
        sampler, tables, candidates.expand(T, B, -1), torch.zeros(T, B, dtype=torch.int64), engine
    )
    drawn.extra.sum().backward()
    G = sampler.generator
    for t in range(T):
        rewards = REWARDS[name]((tables[1][t, candidates] @ tables[0][t, 0]).detach().double())
        vectors = torch.cat([G.user[t, :1], G.item[t, candidates]]).detach().double()

        def ln_p(x):
            return torch.log_softmax(x[1:] @ x[0] / tau, -1)

        p = ln_p(vectors).exp()
        exact = torch.autograd.functional.jacobian(
            lambda x, r=rewards: -(ln_p(x).exp() * r).sum(), vectors
        )
        centred = rewards - sampler.mean_reward[t].double()
        # Of each candidate, when drawn:
        single = -torch.autograd.functional.jacobian(ln_p, vectors) * centred[:, None, None]
        p3 = p[:, None, None]
        error = ((p3 * single.square()).sum(0) - (p3 * single).sum(0).square()).sqrt() / B**0.5
        estimate = torch.cat([G.user.grad[t, :1], G.item.grad[t, candidates]]).double()
        assert exact.abs().max() > 20 * error.max(), (
            "a toy case in which there is something to learn"
        )
        assert ((estimate - exact).abs() < 5 * error + 1e-6).all()
        counts = (drawn.items[t] == candidates).double().mean(0)
        assert ((counts - p).abs() < 5 * (p * (1 - p) / B).sqrt()).all(), "draws follow p_G"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", sorted(REWARDS))
def test_gradients_are_those_of_the_surrogate_and_reach_only_the_generator(name, engine):
    B, M, tau, l2 = 30, 4, 0.5, 0.3
    sampler, tables = make(name, M, f"sampler.l2={l2}", f"sampler.temperature={tau}")
    sampler.mean_reward += 0.25 if name == "rns_as" else 0
    generator = torch.Generator().manual_seed(1)
    pool = torch.randint(0, I, (T, B, M), generator=generator)
    users = torch.randint(0, U, (T, B), generator=generator)
    drawn = draw(sampler, tables, pool, users, engine)
    assert torch.equal(drawn.extra.detach(), torch.zeros(T)), (
        "what it learns from is not a loss of the recommender"
    )
    drawn.extra.sum().backward()
    assert all(table.grad is None or not table.grad.any() for table in tables)
    user, item = (
        p.detach().double().requires_grad_()
        for p in (sampler.generator.user, sampler.generator.item)
    )
    loss = 0.0
    for t in range(T):
        for b in range(B):
            u, candidates, j = user[t, users[t, b]], item[t, pool[t, b]], int(drawn.items[t, b, 0])
            ln_p = torch.log_softmax(candidates @ u / tau, -1)[pool[t, b].tolist().index(j)]
            r = REWARDS[name]((tables[0][t, users[t, b]] @ tables[1][t, j]).detach().double())
            r = r - (0.25 if name == "rns_as" else 0)
            loss = loss - ln_p * r / B + l2 / 2 * (u @ u + candidates.square().sum()) / B
    loss.backward()
    assert torch.allclose(sampler.generator.user.grad.double(), user.grad, atol=1e-5)
    assert torch.allclose(sampler.generator.item.grad.double(), item.grad, atol=1e-5)


def test_the_baseline_is_the_mean_reward_of_the_previous_epoch():
    for name in ("rns_as", "irgan"):
        sampler, tables = make(name, 3)
        pool, users = torch.arange(3).expand(T, 50, 3), torch.ones(T, 50, dtype=torch.int64)
        for _ in range(2):
            assert not sampler.earnings.tally.any()
            rewards = []
            for step in range(3):
                drawn = draw(sampler, tables, pool, users, step=step)
                scores = Encoded(*tables).score(users, drawn.items).squeeze(-1)
                rewards.append(REWARDS[name](scores))
            logged = sampler.close_epoch(0, Encoded(*tables))
            mean = torch.cat(rewards, 1).mean(1)
            assert torch.allclose(logged["sampler/reward"].float(), mean, atol=1e-6)
            p = torch.softmax(
                (sampler.generator.item[:, :3] * sampler.generator.user[:, 1:2]).sum(-1), -1
            )
            assert torch.allclose(
                logged["sampler/entropy"].float(), -(p * p.log()).sum(-1), atol=1e-5
            )
            assert torch.allclose(
                sampler.mean_reward, mean[:, None] if name == "rns_as" else torch.zeros(T, 1)
            )


@pytest.mark.parametrize("engine", ENGINES)
def test_advirs_perturbation_has_norm_eps_and_raises_the_loss_most(engine):
    """The closed form equals delta by autograd, as the paper defines it.

    Equal are the loss and the gradients of all three vectors.
    """
    B, eps, lam = 40, 0.7, 1.5
    sampler, tables = make("advir", 4, f"sampler.eps={eps}", f"sampler.lam={lam}")
    generator = torch.Generator().manual_seed(2)
    pool = torch.randint(0, I, (T, B, 4), generator=generator)
    users = torch.randint(0, U, (T, B), generator=generator)
    drawn = draw(sampler, tables, pool, users, engine)
    drawn.extra.sum().backward()
    exact_tables = [table.detach().double().requires_grad_() for table in tables]
    total = torch.zeros(T, dtype=torch.float64)
    for t in range(T):
        for b in range(B):
            u = exact_tables[0][t, users[t, b]]
            e = torch.stack(
                [exact_tables[1][t, users[t, b] + 1], exact_tables[1][t, drawn.items[t, b, 0]]]
            )

            def loss(e, u=u):
                return F.softplus((e[1] - e[0]) @ u)

            (g,) = torch.autograd.grad(loss(e), e, retain_graph=True)
            delta = (eps * g / g.norm(dim=-1, keepdim=True)).detach()
            assert torch.allclose(delta.norm(dim=-1), torch.tensor(eps, dtype=torch.float64))
            assert loss(e + delta) > loss(e)
            other = eps * F.normalize(
                torch.randn(50, 2, D, generator=generator, dtype=torch.float64), dim=-1
            )
            assert all(loss(e + x) < loss(e + delta) for x in other), (
                "no other of norm eps raises it as much"
            )
            total[t] += lam * loss(e + delta) / B
    assert torch.allclose(drawn.extra.double(), total, atol=1e-5)
    total.sum().backward()
    for table, exact in zip(tables, exact_tables, strict=True):
        assert torch.allclose(table.grad.double(), exact.grad, atol=1e-5)


def test_without_perturbation_advirs_term_is_bpr_once_more():
    sampler, tables = make("advir", 3, "sampler.eps=0", "sampler.lam=1")
    users = torch.ones(T, 9, dtype=torch.int64)
    drawn = draw(sampler, tables, torch.arange(3, 6).expand(T, 9, 3), users)
    positive, negative, _ = Encoded(*tables).pairs(users, users + 1, drawn.items)
    assert torch.allclose(drawn.extra, F.softplus(negative.squeeze(-1) - positive).mean(-1))


def test_a_generator_does_not_start_as_the_recommender_does():
    sampler = build_sampler([make_config("sampler=irgan")["sampler"]] * T, SEEDS, D, U, I)
    model = MF(D, "dot", "xavier", torch.ones(T, 1, 1), SEEDS, U, I)
    assert not (sampler.generator.user == model.user).any() and not torch.equal(
        *sampler.generator.user
    )
    assert float(sampler.generator.item.detach().abs().max()) < math.sqrt(6 / (I + D))
