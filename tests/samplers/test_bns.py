"""BNS's distribution function, exact and estimated, and what its rule amounts to."""

import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.bns import BNS, count_below
from hapens_bench.samplers.pool import Positives, draw_pool

T, U, I, D, B, M = 2, 30, 80, 8, 300, 4


@pytest.fixture
def scene():
    """Return more rows than a chunk has, and users with several of them."""
    generator = torch.Generator().manual_seed(0)
    pairs = np.argwhere(np.random.default_rng(1).random((U, I)) < 0.3).astype(np.int64)
    tables = torch.randn(T, U, D, generator=generator), torch.randn(T, I, D, generator=generator)
    chosen = torch.from_numpy(pairs)[
        torch.randint(0, len(pairs), (T, B), generator=generator)
    ].unbind(-1)
    return pairs, tables, Batch(*chosen, torch.tensor(0), torch.tensor(3), 1)


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_counts_are_those_of_a_loop(scene, engine):
    pairs, tables, batch = scene
    positives = Positives(pairs, U, I, engine=engine)
    pool = draw_pool(positives, batch.users, M, Streams([0, 1], Purpose.POOL), 0)
    below = count_below(Encoded(*tables, engine), positives, batch.users, pool)
    known = [set(pairs[pairs[:, 0] == u, 1].tolist()) for u in range(U)]
    for t in range(T):
        scores = tables[0][t].double() @ tables[1][t].double().T
        for b in range(B):
            u = int(batch.users[t, b])
            free = [float(scores[u, j]) for j in range(I) if j not in known[u]]
            for m in range(M):
                own = float(scores[u, pool[t, b, m]])
                assert int(below[t, b, m]) == sum(s < own for s in free)


def test_a_sample_estimates_the_share(scene):
    pairs, tables, batch = scene
    S, lam = 4000, torch.tensor([5.0, 0.5]).view(T, 1, 1)
    positives = Positives(pairs, U, I)
    pool = draw_pool(positives, batch.users, M + S, Streams([0, 1], Purpose.POOL), 0)
    picks = []
    for sampler in (BNS(M, lam, None), BNS(M, lam, S)):
        sampler.start(positives)
        sampler.observe(positives)
        candidates = pool[..., : sampler.pool_size]
        picks.append(sampler.draw(batch, Encoded(*tables), candidates, None).items)
    assert (picks[0] == picks[1]).double().mean() > 0.95


def test_with_lambda_zero_the_least_informative_wins(scene):
    """Then the risk is info (1 - unbias), which rises with the score."""
    pairs, tables, batch = scene
    positives, encoded = Positives(pairs, U, I), Encoded(*tables)
    pool = draw_pool(positives, batch.users, M, Streams([0, 1], Purpose.POOL), 0)
    sampler = BNS(M, torch.zeros(T, 1, 1), None)
    sampler.start(positives)
    sampler.observe(positives)
    sampler.prior = torch.full_like(sampler.prior, 0.01)  # else popularity has a say
    lowest = encoded.score(batch.users, pool).argmin(-1, keepdim=True)
    drawn = sampler.draw(batch, encoded, pool, None).items
    assert torch.equal(drawn, pool.gather(-1, lowest))
