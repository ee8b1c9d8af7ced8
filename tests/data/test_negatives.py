import numpy as np
import pytest
from scipy import stats

from hapens_bench.data.load import load
from hapens_bench.data.negatives import draw_negatives
from hapens_bench.errors import UserError
from tests.conftest import make_config


def test_negatives_are_uniform_over_what_the_user_does_not_have():
    known = np.argwhere(
        np.random.default_rng(0).random((4, 30)) < np.array([[0.0], [0.2], [0.6], [0.9]])
    )
    negatives = draw_negatives(known, 4, 30, 20_000, seed=1)
    for user, row in enumerate(negatives):
        free = np.setdiff1d(np.arange(30), known[known[:, 0] == user, 1])
        counts = np.bincount(row, minlength=30)
        assert counts.sum() == counts[free].sum() and stats.chisquare(counts[free]).pvalue > 1e-3


def test_they_follow_the_seed_and_a_user_without_any_is_told():
    known = np.array([[0, 1], [1, 0]])
    first, again, other = (draw_negatives(known, 2, 9, 50, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    with pytest.raises(UserError, match="user 1 has all 3 items"):
        draw_negatives(np.array([[1, 0], [1, 1], [1, 2]]), 2, 3, 5, 0)


def test_planted_gets_lists_only_where_the_protocol_wants_them(tmp_path):
    plain, gdns, other = (
        make_config(),
        make_config("protocol=gdns"),
        make_config("protocol=gdns", "protocol.candidates.seed=4"),
    )
    assert load(plain["dataset"], plain["protocol"], tmp_path, None).negatives is None
    split, others = (load(c["dataset"], c["protocol"], tmp_path, None) for c in (gdns, other))
    assert split.negatives.shape == (split.n_users, 100)
    assert split.negatives_hash != others.negatives_hash and split.data_hash != others.data_hash
    known = {
        tuple(pair) for part in (split.train, split.valid, split.test) for pair in part.tolist()
    }
    assert not any((u, j) in known for u, row in enumerate(split.negatives.tolist()) for j in row)
    with pytest.raises(UserError, match=r"protocol\.candidates\.negatives is 0"):
        load(
            gdns["dataset"],
            gdns["protocol"] | {"candidates": {"negatives": 0, "seed": 0}},
            tmp_path,
            None,
        )


@pytest.mark.parametrize(
    ("dataset", "size", "hash"),
    [
        ("ml-1m", (6028, 3533, 563_186), "e35a95559fbabe68"),
        ("pinterest", (37_501, 9916, 925_152), "d130c8f32ddebf85"),
    ],
)
def test_published_lists_are_read_and_others_drawn_and_both_come_back_from_the_cache(
    mirror, tmp_path, dataset, size, hash
):
    config = make_config("protocol=gdns", f"dataset={dataset}")
    split, again = (load(config["dataset"], config["protocol"], tmp_path, mirror) for _ in range(2))
    assert (split.n_users, split.n_items, len(split.train)) == size
    assert (
        split.negatives_hash == again.negatives_hash == hash and split.data_hash == again.data_hash
    )
    assert len(split.valid) == len(split.test) == split.n_users
    keys = np.concatenate([split.train, split.valid, split.test]) @ [split.n_items, 1]
    drawn = np.arange(split.n_users)[:, None] * split.n_items + split.negatives
    assert not np.isin(drawn, keys).any()
    if dataset == "ml-1m":
        repeats = np.mean([len(set(row)) < 100 for row in split.negatives.tolist()])
        assert 0.74 < repeats < 0.78, "drawn with replacement (METHODS 7: 76%)"
