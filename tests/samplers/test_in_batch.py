"""The logQ correction: with it, the weighted negatives estimate a sum over the whole catalogue."""

import numpy as np
import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.in_batch import InBatch
from hapens_bench.samplers.pool import Positives, draw_pool
from tests.conftest import make_config

T, U, I, B = 4000, 60, 40, 40


def pairs():
    generator = np.random.default_rng(0)
    matrix = generator.random((U, I)) < generator.random((1, I)) * 0.6
    matrix[:, -1] = False  # no user has the last item
    matrix[0] = False
    matrix[0, 0] = True
    return np.argwhere(matrix).astype(np.int64)


def draw(sampler, users, items):
    positives = Positives(pairs(), U, I)
    sampler.start(positives)
    sampler.observe(positives)
    batch = Batch(users, items, torch.tensor(0), torch.tensor(0), 1)
    streams = Streams(list(range(len(users))), Purpose.POOL)
    return sampler.draw(
        batch, None, draw_pool(positives, users, sampler.pool_size, streams, 0), None
    )


@pytest.mark.parametrize(("N", "width"), [(0, 0.03), (20, 0.03)])
def test_weighted_negatives_estimate_the_sum_over_all_items(N, width):
    """User 0 has item 0 only: sum_k w_k f(j_k) / q_i is near the sum of f over the rest."""
    generator, train = torch.Generator().manual_seed(1), torch.from_numpy(pairs())
    f = torch.rand(I, generator=generator) + 0.5
    chosen = train[torch.randint(len(train), (T, B), generator=generator)]
    chosen[:, 0] = 0  # the row looked at: user 0 and item 0
    sampler = InBatch(None, N, True)
    drawn = draw(sampler, chosen[..., 0], chosen[..., 1])
    q_i = (B - 1) * sampler.p[0] + N / I
    estimate = float((drawn.weights[:, 0] * f[drawn.items[:, 0]]).sum(-1).mean() / q_i)
    reachable = f[1:] if N else f[1:-1]  # of degree 0: only uniform draws find it
    assert estimate == pytest.approx(float(reachable.sum()), rel=width)


def test_without_the_correction_all_but_train_items_weigh_one():
    train = torch.from_numpy(pairs())
    chosen = train[torch.randint(len(train), (3, B), generator=torch.Generator().manual_seed(2))]
    users, items = chosen.unbind(-1)
    for K, N in ((None, 0), (5, 3)):
        drawn = draw(InBatch(K, N, False), users, items)
        n = K or B - 1
        known = set(map(tuple, pairs().tolist()))
        for t in range(3):
            for b in range(B):
                u, others = int(users[t, b]), [int(items[t, (b + k) % B]) for k in range(1, n + 1)]
                weights = [float((u, j) not in known) for j in others] + [1.0] * N
                assert drawn.weights[t, b].tolist() == weights


def test_a_batch_of_one_has_no_negative():
    drawn = draw(InBatch(None, 0, True), torch.zeros(1, 1).long(), torch.zeros(1, 1).long())
    assert drawn.items.shape == (1, 1, 1) and drawn.weights.tolist() == [[[0.0]]]


def test_losses_without_weights_are_refused():
    with pytest.raises(UserError, match="sampler=in_batch gives weights, but loss=bpr takes none"):
        check(make_config("sampler=in_batch", "loss=bpr"))
