import numpy as np
import pytest

from hapens_bench.data import filters, splits
from hapens_bench.data.interactions import Interactions
from hapens_bench.errors import UserError


def log(rows, times=None, ratings=None) -> Interactions:
    pairs = np.array(rows, dtype=np.int64)
    return Interactions(
        pairs[:, 0],
        pairs[:, 1],
        int(pairs[:, 0].max()) + 1,
        int(pairs[:, 1].max()) + 1,
        None if times is None else np.array(times, dtype=np.int64),
        None if ratings is None else np.array(ratings, dtype=np.float64),
    )


def pairs(found: Interactions) -> list[tuple[int, int]]:
    return list(zip(found.user.tolist(), found.item.tolist(), strict=True))


def test_rating_threshold_keeps_equal_ratings():
    found = filters.at_least_rating(log([(0, 0), (0, 1), (1, 0)], ratings=[3.5, 4, 5]), 4)
    assert pairs(found) == [(0, 1), (1, 0)] and found.rating.tolist() == [4, 5]


def test_rating_threshold_without_ratings_is_refused():
    with pytest.raises(UserError, match="no ratings"):
        filters.at_least_rating(log([(0, 0)]), 4)


def test_distinct_keeps_the_earliest_and_the_order_of_the_source():
    found = filters.distinct(log([(0, 1), (1, 0), (0, 1), (0, 0), (0, 1)], times=[5, 1, 3, 9, 3]))
    assert pairs(found) == [(1, 0), (0, 1), (0, 0)] and found.time.tolist() == [1, 3, 9]
    assert pairs(filters.distinct(log([(0, 1), (0, 0), (0, 1)]))) == [(0, 1), (0, 0)]


def test_k_core_goes_on_until_nothing_more_falls_away():
    chain = [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 2),
        (2, 2),
    ]  # user 2 has one row; then item 2, then user 1, ... fall away
    assert len(filters.k_core(log(chain), 2)) == 0
    square = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert pairs(filters.k_core(log([*square, (2, 1)]), 2)) == square


def test_minimum_per_user_is_one_pass():
    assert pairs(filters.min_per_user(log([(1, 0), (0, 0), (1, 1), (2, 5)]), 2)) == [(1, 0), (1, 1)]


def test_renumber_closes_gaps_in_order():
    found = filters.renumber(log([(7, 3), (2, 9), (7, 9)]))
    assert pairs(found) == [(1, 0), (0, 1), (1, 1)] and (found.n_users, found.n_items) == (2, 2)


def test_random_split_has_the_share_of_each_user_and_spares_single_rows():
    rows = [(0, i) for i in range(10)] + [(1, 0)] + [(2, i) for i in range(3)]
    mask = splits.random_per_user(log(rows), 0.2, seed=1)
    assert [int(mask[:10].sum()), int(mask[10]), int(mask[11:].sum())] == [2, 0, 1]
    assert np.array_equal(mask, splits.random_per_user(log(rows), 0.2, seed=1))
    assert any(not np.array_equal(mask, splits.random_per_user(log(rows), 0.2, seed=s)) for s in range(2, 9))


def test_random_split_is_uniform_over_a_users_rows():
    rows = log([(0, i) for i in range(5)])
    counts = sum(splits.random_per_user(rows, 0.2, seed=s).astype(int) for s in range(2000))
    assert counts.sum() == 2000 and counts.min() > 330 and counts.max() < 470


def test_chronological_split_takes_the_latest_with_ties_in_source_order():
    rows = [(0, 0), (1, 0), (0, 1), (0, 2), (0, 3), (1, 1)]
    mask = splits.chronological_per_user(log(rows, times=[9, 1, 5, 7, 9, 1]), 0.25)
    assert np.flatnonzero(mask).tolist() == [
        4,
        5,
    ]  # user 0: the later of two rows at time 9; user 1: 0.25 * 2 rounds up to 1
    mask = splits.chronological_per_user(log(rows, times=[9, 1, 5, 7, 9, 1]), 0.5)
    assert np.flatnonzero(mask).tolist() == [0, 4, 5]


def test_chronological_split_without_times_is_refused():
    with pytest.raises(UserError, match="no times"):
        splits.chronological_per_user(log([(0, 0)]), 0.5)


def test_leave_one_out_takes_the_two_latest_and_spares_short_users():
    rows = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 4), (2, 5), (2, 6), (2, 7)]
    valid, test = splits.leave_one_out(log(rows, times=[3, 1, 2, 5, 6, 1, 1, 1, 0]))
    assert np.flatnonzero(test).tolist() == [0, 7] and np.flatnonzero(valid).tolist() == [2, 6]


def test_validation_never_takes_the_last_pair_of_a_user():
    train = np.array([(u, i) for u in range(200) for i in range(1 + u % 3)], dtype=np.int64)
    for seed in range(5):
        mask = splits.carve_validation(train, 0.5, seed)
        assert set(train[~mask, 0]) == set(range(200))
        assert 0.25 < mask.mean() <= 0.5
    assert not splits.carve_validation(train, 0.0, 0).any()
    assert np.array_equal(splits.carve_validation(train, 0.5, 3), splits.carve_validation(train, 0.5, 3))


def test_one_per_user_is_uniform_and_spares_single_rows():
    train = np.array([(2, 0), (0, 0), (2, 1), (2, 2), (5, 1), (5, 0)], dtype=np.int64)
    masks = np.array([splits.one_per_user(train, seed) for seed in range(900)])
    assert not masks[:, 1].any()
    assert (masks[:, [0, 2, 3]].sum(axis=1) == 1).all() and (masks[:, 4:].sum(axis=1) == 1).all()
    assert masks[:, [0, 2, 3]].mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.06)
    assert np.array_equal(masks[7], splits.one_per_user(train, 7))
