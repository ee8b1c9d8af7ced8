import math

import numpy as np
import pytest

from hapens_bench.data import filters, splits
from hapens_bench.data.interactions import Interactions
from hapens_bench.data.load import load
from hapens_bench.data.protocol import split_log
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.training.stage import train_pairs
from tests.conftest import make_config


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
    kept = filters.at_least_rating(log([(0, 0), (0, 1), (1, 0)], ratings=[3.5, 4, 5]), 4)
    assert pairs(kept) == [(0, 1), (1, 0)] and kept.rating.tolist() == [4, 5]


def test_rating_threshold_without_ratings_is_refused():
    with pytest.raises(UserError, match="no ratings"):
        filters.at_least_rating(log([(0, 0)]), 4)


def test_distinct_keeps_the_earliest_and_the_order_of_the_source():
    kept = filters.distinct(log([(0, 1), (1, 0), (0, 1), (0, 0), (0, 1)], times=[5, 1, 3, 9, 3]))
    assert pairs(kept) == [(1, 0), (0, 1), (0, 0)] and kept.time.tolist() == [1, 3, 9]
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
    kept = filters.renumber(log([(7, 3), (2, 9), (7, 9)]))
    assert pairs(kept) == [(1, 0), (0, 1), (1, 1)] and (kept.n_users, kept.n_items) == (2, 2)


def test_random_split_has_the_share_of_each_user_and_spares_single_rows():
    rows = [(0, i) for i in range(10)] + [(1, 0)] + [(2, i) for i in range(3)]
    mask = splits.random_per_user(log(rows), 0.2, seed=1)
    assert [int(mask[:10].sum()), int(mask[10]), int(mask[11:].sum())] == [2, 0, 1]
    assert np.array_equal(mask, splits.random_per_user(log(rows), 0.2, seed=1))
    assert any(
        not np.array_equal(mask, splits.random_per_user(log(rows), 0.2, seed=s))
        for s in range(2, 9)
    )


def test_random_split_is_uniform_over_a_users_rows():
    rows = log([(0, i) for i in range(5)])
    counts = sum(splits.random_per_user(rows, 0.2, seed=s).astype(int) for s in range(2000))
    assert counts.sum() == 2000 and counts.min() > 330 and counts.max() < 470


def test_random_users_are_whole_reproducible_and_uniform():
    rows = log([(u, i) for u in (0, 2, 3, 5) for i in range(3)])
    kept = filters.random_users(rows, 2, seed=4)
    assert len(kept) == 6 and len(set(kept.user)) == 2
    assert pairs(kept) == pairs(filters.random_users(rows, 2, seed=4))
    assert (
        pairs(filters.random_users(rows, 4, seed=0))
        == pairs(filters.random_users(rows, 9, seed=0))
        == pairs(rows)
    )
    counts = np.bincount(
        np.concatenate([np.unique(filters.random_users(rows, 2, s).user) for s in range(1000)])
    )
    assert counts[[1, 4]].tolist() == [0, 0]
    assert counts[[0, 2, 3, 5]].min() > 430 and counts.max() < 570


def test_chronological_split_takes_the_latest():
    rows = [(0, 0), (1, 0), (0, 1), (0, 2), (0, 3), (1, 1)]
    mask = splits.chronological_per_user(log(rows, times=[9, 1, 5, 7, 8, 2]), 0.25, seed=0)
    assert np.flatnonzero(mask).tolist() == [0, 5]  # user 1: 0.25 * 2 rounds up to 1
    mask = splits.chronological_per_user(log(rows, times=[9, 1, 5, 7, 8, 2]), 0.5, seed=0)
    assert np.flatnonzero(mask).tolist() == [0, 4, 5]


def test_a_temporal_split_cuts_at_one_time_for_all_and_leaves_unknown_users_out():
    rows = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (0, 2), (1, 2), (2, 0), (3, 3), (0, 3)]
    whole = log(rows, times=range(1, 11))
    kept, first_valid, first_test = splits.temporal(whole, 0.25, 0.2)
    assert (first_valid, first_test) == (7, 9)
    assert sorted(set(kept.user.tolist())) == [0, 1, 2], "user 3 has no row before time 7"
    with pytest.raises(UserError, match="no user has rows"):
        splits.temporal(whole.take(np.array([0, 8])), 0, 0.5)


def test_rows_of_equal_time_stay_together_in_a_temporal_split():
    whole = log([(0, i) for i in range(10)], times=[1, 1, 1, 1, 5, 5, 5, 9, 9, 9])
    for test, first in ((0.1, 9), (0.4, 5), (0.5, 5)):
        assert splits.temporal(whole, 0, test)[1:] == (first, first)
    with pytest.raises(UserError, match="leaves nothing to train on or to test"):
        splits.temporal(whole, 0, 0.9)
    with pytest.raises(UserError, match="no times"):
        splits.temporal(log([(0, 0), (0, 1)]), 0, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_a_temporal_split_of_a_protocol_is_that_of_a_slow_one(seed):
    generator = np.random.default_rng(seed)
    rows = np.unique(generator.integers(0, 12, (60, 2)), axis=0)
    times = generator.integers(0, 30, len(rows))
    protocol = make_config("protocol.split.kind=temporal")["protocol"]
    split = split_log("toy", log(rows.tolist(), times.tolist()), protocol)
    order = sorted(times)
    end = order[math.floor(0.8 * len(order) + 0.5)]
    before = [t for t in order if t < end]
    begin = before[math.floor(0.9 * len(before) + 0.5)]
    parts = [[], [], []]
    for (u, i), t in zip(rows.tolist(), times, strict=True):
        if any(t2 < begin and u2 == u for (u2, _), t2 in zip(rows, times, strict=True)):
            parts[int(t >= begin) + int(t >= end)].append((u, i))
    users, items = (sorted({pair[k] for part in parts for pair in part}) for k in (0, 1))
    found = [
        sorted((users[u], items[i]) for u, i in part.tolist())
        for part in (split.train, split.valid, split.test)
    ]
    assert found == [sorted(part) for part in parts]


def test_equal_times_are_ordered_by_seed_user_and_item_and_by_nothing_else():
    def latest(rows, times, seed):
        mask = splits.chronological_per_user(log(rows, times), 0.2, seed)
        return sorted(np.array(rows)[mask].tolist())

    rows = [(u, i) for u in range(40) for i in range(5)]
    times = [int(i > 1) for _, i in rows]  # of each user's five rows, three are equally late
    first = latest(rows, times, seed=0)
    back = [rows[k] for k in reversed(range(200))], [times[k] for k in reversed(range(200))]
    assert latest(*back, seed=0) == first != latest(rows, times, seed=1)
    assert {i for _, i in first} == {2, 3, 4}, "ties go neither to the first nor to the last"
    counts = np.bincount([latest(rows, times, s)[7][1] for s in range(600)], minlength=5)
    assert counts[:2].tolist() == [0, 0] and counts[2:].min() > 150 and counts.max() < 250


def test_what_is_held_out_of_the_rest_is_the_latest_of_the_rest_ties_included():
    rows = log([(u, i) for u in range(30) for i in range(10)], times=[0] * 300)
    order = splits.tie_order(rows, seed=3)
    test = splits.chronological_per_user(rows, 0.1, seed=3)
    rest = rows.take(~test)
    valid = splits.chronological_per_user(rest, 1 / 9, seed=3)
    for u in range(30):
        places = np.argsort(order[rows.user == u])
        assert rows.item[test & (rows.user == u)].tolist() == [places[-1]]
        assert rest.item[valid & (rest.user == u)].tolist() == [places[-2]]


def test_chronological_split_without_times_is_refused():
    with pytest.raises(UserError, match="no times"):
        splits.chronological_per_user(log([(0, 0)]), 0.5, seed=0)


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
    assert np.array_equal(
        splits.carve_validation(train, 0.5, 3), splits.carve_validation(train, 0.5, 3)
    )


def test_a_share_of_each_user_is_uniform_and_leaves_one():
    counts = [1, 2, 9, 10, 25, 30]
    train = np.array([(u, i) for u, n in enumerate(counts) for i in range(n)])
    masks = np.array([splits.carve_from_each_user(train, 0.1, seed) for seed in range(900)])
    for u, held in enumerate([0, 1, 1, 1, 2, 3]):
        assert (masks[:, train[:, 0] == u].sum(1) == held).all()
    often = masks[:, train[:, 0] == 4].mean(0)
    assert np.abs(often - 2 / 25).max() < 0.05
    assert np.array_equal(masks[7], splits.carve_from_each_user(train, 0.1, 7))
    assert not np.array_equal(masks[7], masks[8])


def test_irbenchmark_withholds_a_tenth_of_each_user(mirror, tmp_path):
    config = make_config("dataset=irb_health", "protocol=irbenchmark")
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    assert (split.n_users, split.n_items) == (1974, 1200)
    train, valid = (np.bincount(x[:, 0], minlength=1974) for x in (split.train, split.valid))
    assert len(split.full_train) == 37_784 and len(split.test) == 10_405
    assert valid.tolist() == [max(int(n * 0.1), 1) for n in (train + valid).tolist()]
    clean = make_config("dataset=irb_health", "protocol=irbenchmark_clean")
    check(clean)
    check(config)
    for masked, protocol in ((split.train, config), (split.full_train, clean)):
        assert len(train_pairs("full", protocol["protocol"], split)) == len(masked)


def test_one_per_user_is_uniform_and_spares_single_rows():
    train = np.array([(2, 0), (0, 0), (2, 1), (2, 2), (5, 1), (5, 0)], dtype=np.int64)
    masks = np.array([splits.one_per_user(train, seed) for seed in range(900)])
    assert not masks[:, 1].any()
    assert (masks[:, [0, 2, 3]].sum(axis=1) == 1).all() and (masks[:, 4:].sum(axis=1) == 1).all()
    assert masks[:, [0, 2, 3]].mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.06)
    assert np.array_equal(masks[7], splits.one_per_user(train, 7))
