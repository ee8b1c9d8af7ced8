"""The minimax game: which side's turn it is, and the generator's gradient.

The importance-weighted gradient must be that of the expected reward.
"""

import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.build import build_sampler
from tests.conftest import make_config

T, U, I, D, M = 2, 3, 7, 8, 2
SEEDS = [1, 2]
PAIRS = np.array([[0, 1], [0, 4], [0, 5], [1, 2], [2, 0], [2, 6]], dtype=np.int64)
PRETRAINING, TURN_OF_D, TURN_OF_G = 0, 3, 5  # epochs, with pretrain=3, d_epochs=2, g_epochs=2


def make(*overrides):
    """Return a game whose two sides already know something."""
    schedule = ["sampler.pretrain=3", "sampler.d_epochs=2", "sampler.g_epochs=2"]
    section = make_config("sampler=irgan_minimax", *schedule, *overrides)["sampler"]
    sampler = build_sampler([section] * T, SEEDS, D, U, I)
    sampler.start(Positives(PAIRS, U, I))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for table in sampler.discriminator.parameters():
            table.copy_(torch.randn(table.shape, generator=generator) / 2)
    tables = [(torch.randn(T, n, D, generator=generator) / 2).requires_grad_() for n in (U, I)]
    return sampler, tables


def draw(sampler, tables, B, epoch, engine=Engine.PLAIN):
    users, items = torch.zeros(T, B, dtype=torch.int64), torch.ones(T, B, dtype=torch.int64)
    pool = torch.tensor([0, 3]).expand(T, B, M)
    batch = Batch(users, items, torch.tensor(epoch), torch.tensor(0), 10)
    return sampler.draw(batch, Encoded(*tables, engine), pool, Streams(SEEDS, Purpose.SAMPLER))


def moved(table):
    return table.grad is not None and bool(table.grad.any())


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_only_the_side_whose_turn_it_is_learns(engine):
    game = [PRETRAINING, 2, TURN_OF_D, 4, TURN_OF_G, 6, 7, 9]
    turns = ["", "", "D", "D", "G", "G", "D", "G"]
    for epoch, turn in zip(game, turns, strict=True):
        sampler, tables = make()
        drawn = draw(sampler, tables, 50, epoch, engine)
        drawn.extra.sum().backward()
        assert [moved(p) for p in sampler.discriminator.parameters()] == [turn == "D"] * 2
        assert [moved(table) for table in tables] == [turn == "G"] * 2
        assert bool((drawn.weights == (1.0 if turn == "" else 0.0)).all())
        assert bool((drawn.extra.detach() != 0).all()) == (turn == "D")


@pytest.mark.parametrize("lam", [0.2, 0.9])
def test_the_generators_gradient_is_that_of_the_expected_reward_over_the_catalogue(lam):
    """However its draws are mixed with train items.

    It may be off by no more than the standard error of the average allows.
    """
    B = 60_000
    sampler, tables = make(f"sampler.lam={lam}")
    draw(sampler, tables, B, TURN_OF_G).extra.sum().backward()
    for t in range(T):
        scores = (
            (sampler.discriminator.item[t] @ sampler.discriminator.user[t, 0]).detach().double()
        )
        r = 2 * (torch.sigmoid(scores) - 0.5)
        vectors = torch.cat([tables[0][t, :1], tables[1][t]]).detach().double()

        def ln_p(x):
            return torch.log_softmax(x[1:] @ x[0], -1)

        p = ln_p(vectors).exp()
        known = torch.zeros(I, dtype=torch.float64)
        known[[1, 4, 5]] = 1 / 3
        p_n = (1 - lam) * p + lam * known
        exact = torch.autograd.functional.jacobian(
            lambda x, r=r: -(ln_p(x).exp() * r).sum(), vectors
        )
        single = -torch.autograd.functional.jacobian(ln_p, vectors) * (p / p_n * r)[:, None, None]
        drawn = p_n[:, None, None]
        error = ((drawn * single.square()).sum(0) - (drawn * single).sum(0).square()).sqrt() / (
            2 * B
        ) ** 0.5
        estimate = torch.cat([tables[0].grad[t, :1], tables[1].grad[t]]).double()
        assert exact.abs().max() > 20 * error.max()
        assert ((estimate - exact).abs() < 5 * error + 1e-6).all()


def test_logged_are_the_reward_of_mixed_draws_and_the_entropy_over_all_items():
    sampler, tables = make("sampler.lam=0.3")
    draw(sampler, tables, 60_000, TURN_OF_G)
    logged = sampler.close_epoch(0, Encoded(*tables))
    for t in range(T):
        p = torch.softmax((tables[1][t] @ tables[0][t, 0]).detach().double(), 0)
        p_n = 0.7 * p
        p_n[[1, 4, 5]] += 0.1
        scores = (
            (sampler.discriminator.item[t] @ sampler.discriminator.user[t, 0]).detach().double()
        )
        assert float(logged["sampler/reward"][t]) == pytest.approx(
            float((p_n * (2 * scores.sigmoid() - 1)).sum()), abs=0.01
        )
        assert float(logged["sampler/entropy"][t]) == pytest.approx(
            float(-(p * p.log()).sum()), abs=1e-5
        )
