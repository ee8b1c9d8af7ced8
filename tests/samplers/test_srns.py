import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.samplers.srns import SRNS, first_of_user

U, I, D, B, S1, S2 = 5, 40, 4, 9, 3, 6
ALPHA, T0, TAU = (5.0, 0.7), (4.0, 2.0), (1.5, 0.3)
T = len(ALPHA)


def per_trial(values):
    return torch.tensor(values).view(-1, 1, 1)


def vectors(epoch, engine=Engine.PLAIN):
    generator = torch.Generator().manual_seed(epoch)
    return Encoded(*(torch.randn(T, n, D, generator=generator) for n in (U, I)), engine)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class Slow:
    """SRNS as its paper defines it, one user after another, for one trial."""

    def __init__(self, t, memory, first):
        self.t, self.kind, self.past, self.memory = t, memory, [first], {}

    def score(self, encoded, u, j):
        return float(encoded.users[self.t, u].double() @ encoded.items[self.t, j].double())

    def step(self, encoded, epoch, users, items, pool, noise):
        fresh = {u: pool[users.index(u)] for u in users}
        before = {u: self.memory.get(u, fresh[u][:S1]) for u in users}
        chosen = []
        for u, i in zip(users, items, strict=True):

            def value(j, u=u, i=i):
                P = [
                    sigmoid(self.score(e, u, j) - self.score(e, u, i))
                    for e in [*self.past[-5:], encoded]
                ]
                return P[-1] + ALPHA[self.t] * min(1, epoch / T0[self.t]) * np.std(P[:-1])

            chosen.append(max(before[u], key=value))
        for u in set(users):
            union = before[u] + fresh[u][S1:]
            keys = [
                self.score(encoded, u, j) / TAU[self.t] - math.log(-math.log(x))
                for j, x in zip(union, noise[users.index(u)], strict=True)
            ]
            self.memory[u] = [union[k] for k in np.argsort(keys)[::-1][:S1]]
        return chosen

    def end_epoch(self, encoded):
        self.past.append(encoded)
        if self.kind == "authors":
            self.memory = {}


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("memory", ["authors", "persistent"])
def test_over_several_epochs_it_equals_the_slow_reference(memory, engine):
    pairs = np.array([(u, i) for u in range(U) for i in range(u, u + 4)])
    positives = Positives(pairs, U, I, engine=engine)
    sampler = SRNS(S1, S2, per_trial(ALPHA), per_trial(T0), per_trial(TAU), memory)
    sampler.allocate(vectors(100, engine))
    slow = [Slow(t, memory, vectors(100)) for t in range(T)]
    pools, streams = Streams([1, 2], Purpose.POOL), Streams([1, 2], Purpose.SAMPLER)
    generator, step = torch.Generator().manual_seed(0), 0
    for epoch in range(8):
        for _ in range(3):
            encoded = vectors(step, engine)
            chosen = torch.from_numpy(pairs)[
                torch.randint(0, len(pairs), (T, B), generator=generator)
            ]
            batch = Batch(
                chosen[..., 0], chosen[..., 1], torch.tensor(epoch), torch.tensor(step), 8
            )
            pool = draw_pool(positives, batch.users, S1 + S2, pools, step * B * (S1 + S2))
            drawn = sampler.draw(batch, encoded, pool, streams).items[..., 0]
            noise = streams.uniform(step * B * (S1 + S2), B, S1 + S2).double()
            for t, reference in enumerate(slow):
                expected = reference.step(
                    vectors(step),
                    epoch,
                    *(x[t].tolist() for x in (batch.users, batch.items, pool, noise)),
                )
                assert drawn[t].tolist() == expected
                for u, remembered in reference.memory.items():
                    assert sampler.mem[t, u].tolist() == remembered
            step += 1
        sampler.close_epoch(epoch, vectors(step, engine))
        for reference in slow:
            reference.end_epoch(vectors(step))
        assert (sampler.mem == -1).all() == (memory == "authors")


def test_rows_of_a_user_point_to_the_first_row_of_that_user():
    users = torch.tensor([[3, 1, 3, 0, 1], [2, 2, 2, 0, 4]])
    assert first_of_user(users, 5).tolist() == [[0, 1, 0, 3, 1], [0, 0, 0, 3, 4]]


def test_the_memory_is_renewed_by_score_without_replacement():
    n, scores = 20_000, [0.0, 1.0, 2.0, 3.0]
    encoded = Encoded(torch.ones(1, n, 1), torch.tensor(scores).view(1, -1, 1))
    sampler = SRNS(2, 2, per_trial([0.0]), per_trial([1.0]), per_trial([2.0]), "persistent")
    sampler.allocate(encoded)
    users, zero = torch.arange(n)[None], torch.tensor(0)
    batch = Batch(users, torch.zeros_like(users), zero, zero, 1)
    sampler.draw(batch, encoded, torch.arange(4).expand(1, n, 4), Streams([0], Purpose.SAMPLER))
    seen = Counter(tuple(sorted(pair)) for pair in sampler.mem[0].tolist())
    w = np.exp(np.array(scores) / 2)
    p = w / w.sum()
    expected = {
        (a, b): p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
        for a in range(4)
        for b in range(a + 1, 4)
    }
    assert set(seen) == set(expected)
    assert (
        stats.chisquare([seen[k] for k in expected], [n * q for q in expected.values()]).pvalue
        > 1e-3
    )
