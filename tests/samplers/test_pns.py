import numpy as np
import torch
from scipy import stats

from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pns import PNS
from hapens_bench.samplers.pool import Positives

U, I, B = 30, 25, 400


def drawn(pairs, user, seed, power=0.75, n=50):
    sampler = PNS(power)
    sampler.start(Positives(pairs, U, I))
    users, zero, rng = torch.full((1, B), user), torch.tensor(0), Streams([seed], Purpose.SAMPLER)
    draws = []
    for k in range(n):
        batch = Batch(users, users, zero, torch.tensor(k), 1)
        draws.append(sampler.draw(batch, None, users.new_empty(1, B, 0), rng).items)
    return torch.cat(draws).flatten().numpy()


def test_negatives_follow_popularity_over_what_the_user_has_not_seen():
    generator = np.random.default_rng(0)
    matrix = generator.random((U, I)) < generator.random((1, I)) * 0.8
    matrix[:, 3] = False  # no one has it: popularity 0, never drawn
    pairs = np.argwhere(matrix).astype(np.int64)
    weights = matrix.sum(0) ** 0.75
    pvalues = []
    for user in range(U):
        counts = np.bincount(drawn(pairs, user, user), minlength=I)
        free = ~matrix[user] & (weights > 0)
        assert counts[~free].sum() == 0
        if free.sum() > 1:
            pvalues.append(
                stats.chisquare(
                    counts[free], weights[free] / weights[free].sum() * counts.sum()
                ).pvalue
            )
    assert len(pvalues) > 20 and stats.kstest(pvalues, "uniform").pvalue > 1e-3


def test_power_zero_is_uniform_over_items_that_anyone_has():
    matrix = np.random.default_rng(1).random((U, I)) < 0.3
    counts = np.bincount(drawn(np.argwhere(matrix).astype(np.int64), 2, 0, power=0.0), minlength=I)
    assert stats.chisquare(counts[~matrix[2]]).pvalue > 1e-3


def test_a_user_who_has_all_popular_items_gets_uniform_ones():
    pairs = np.array([[0, j] for j in range(I - 5)] + [[1, 0]], dtype=np.int64)
    counts = np.bincount(drawn(pairs, 0, 0), minlength=I)
    assert counts[: I - 5].sum() == 0 and stats.chisquare(counts[I - 5 :]).pvalue > 1e-3
