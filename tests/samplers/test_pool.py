import numpy as np
import pytest
import torch
from scipy import stats

from hapens_bench.kernels import Engine
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, _draw_everywhere, draw_pool


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """60 users x 45 items: an empty user, one who has all but one item, and everything between."""
    generator = np.random.default_rng(1)
    known = generator.random((60, 45)) < generator.random((60, 1))
    known[0] = False
    known[1] = True
    known[1, 17] = False
    return known


WAYS = [(bitmap, engine) for bitmap in (1 << 20, 0) for engine in (Engine.PLAIN, Engine.NUMBA)]


@pytest.fixture(scope="module", params=WAYS)
def positives(request, matrix) -> Positives:
    budget, engine = request.param
    table = Positives(
        np.argwhere(matrix).astype(np.int64), *matrix.shape, bitmap_bytes=budget, engine=engine
    )
    assert (table.bitmap is not None) == (budget > 0)
    return table


def test_membership_of_every_pair(positives, matrix):
    users, items = torch.meshgrid(torch.arange(60), torch.arange(45), indexing="ij")
    assert np.array_equal(positives.contains(users, items).numpy(), matrix)


def test_rank_select_lists_the_uninteracted_items_in_order(positives, matrix):
    for user in range(60):
        free = np.flatnonzero(~matrix[user])
        users = torch.full((len(free),), user)
        assert positives.uninteracted(users[:1]).tolist() == [len(free)] * min(1, len(free))
        assert np.array_equal(positives.select(users, torch.arange(len(free))).numpy(), free)


def test_candidates_are_exactly_uniform_over_uninteracted_items(positives, matrix):
    pvalues = []
    for user in range(2, 60):
        free = np.flatnonzero(~matrix[user])
        users = torch.full((1, 400), user)
        drawn = draw_pool(positives, users, 50, Streams([user], Purpose.POOL), 0).flatten().numpy()
        counts = np.bincount(drawn, minlength=45)
        assert counts[matrix[user]].sum() == 0
        if len(free) > 1:
            pvalues.append(stats.chisquare(counts[free]).pvalue)
    assert len(pvalues) > 40
    # Not only is none too small: the p-values are uniform.
    assert stats.kstest(pvalues, "uniform").pvalue > 1e-3


def test_a_user_with_one_uninteracted_item_gets_that_item(positives):
    drawn = draw_pool(
        positives, torch.ones(1, 5, dtype=torch.int64), 3, Streams([0], Purpose.POOL), 0
    )
    assert drawn.unique().tolist() == [17]


def test_all_ways_give_the_same_items(matrix):
    pairs = np.argwhere(matrix).astype(np.int64)
    users = torch.randint(0, 60, (3, 200), generator=torch.Generator().manual_seed(0))
    streams = Streams([9, 8, 7], Purpose.POOL)
    ways = [Positives(pairs, 60, 45, bitmap_bytes=bitmap, engine=engine) for bitmap, engine in WAYS]
    drawn = [draw_pool(positives, users, 20, streams, 77) for positives in ways]
    drawn += [
        _draw_everywhere(positives, users, 20, streams, torch.tensor(77)) for positives in ways
    ]
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])


def test_a_trial_draws_the_same_in_any_pack(positives):
    users = torch.randint(0, 60, (3, 16), generator=torch.Generator().manual_seed(0))
    packed = draw_pool(positives, users, 8, Streams([1, 2, 3], Purpose.POOL), 5)
    for t in range(3):
        alone = draw_pool(positives, users[t : t + 1], 8, Streams([t + 1], Purpose.POOL), 5)
        assert torch.equal(packed[t : t + 1], alone)


def test_no_pairs_at_all():
    empty = Positives(np.empty((0, 2), dtype=np.int64), 3, 4, bitmap_bytes=0)
    assert not empty.contains(torch.arange(3), torch.arange(3)).any()
