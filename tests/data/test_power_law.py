import numpy as np
import pytest

from hapens_bench.config.identity import run_id
from hapens_bench.data import power_law
from hapens_bench.data.interactions import sort_pairs
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from tests.conftest import make_config

SMALL = [
    "dataset=large",
    "dataset.users=3000",
    "dataset.items=2000",
    "dataset.clusters=5",
    "dataset.observed=20",
]
JUDGED = ["+protocol.judged.users=100", "+protocol.judged.seed=0"]


def made(*overrides):
    return power_law.generate(make_config(*SMALL, *overrides)["dataset"])


def test_it_is_what_its_docstring_says():
    log = made()
    pairs = np.column_stack([log.user, log.item])
    assert (log.n_users, log.n_items, log.time) == (3000, 2000, None)
    assert len(sort_pairs(pairs)) == len(pairs), "no pair twice"
    counts = np.bincount(log.user, minlength=3000)
    assert counts.min() == 3 and abs(counts.mean() - 20) < 1
    own_shares = [
        np.bincount(log.item[log.user == u] % 5, minlength=5).max() / counts[u] for u in range(300)
    ]
    assert abs(np.mean(own_shares) - 0.96) < 0.02, (
        "noise=0.05, of which a fifth falls into the own cluster"
    )
    popularity = np.bincount(log.item // 5, minlength=400)
    assert popularity[:40].sum() > 0.4 * len(log) and popularity[0] > 20 * popularity[200:].mean()


def test_equal_seeds_give_equal_data_whose_parts_have_streams_of_their_own(monkeypatch):
    monkeypatch.setattr(power_law, "PART", 1000)
    first, again, other = made(), made(), made("dataset.seed=1")
    assert np.array_equal(first.item, again.item) and not np.array_equal(
        first.item[:1000], other.item[:1000]
    )
    shifted = (
        first.item[first.user < 1000][:100],
        first.item[(first.user >= 1000) & (first.user < 2000)][:100],
    )
    assert not np.array_equal(*shifted)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("dataset.clusters=7", "clusters must be of one size"),
        ("dataset.clusters=100", "at least twice the"),
        ("dataset.skew=1", "dataset.skew"),
        ("dataset.noise=0", "dataset.noise"),
        ("+dataset.extra=1", "dataset.extra"),
    ],
)
def test_what_cannot_be_generated_is_refused(override, words):
    with pytest.raises(UserError, match=words):
        made(override)


def test_only_a_sample_is_judged_and_the_others_are_trained_on_whole(tmp_path):
    config, judged = make_config(*SMALL), make_config(*SMALL, *JUDGED)
    whole, some = (load(c["dataset"], c["protocol"], tmp_path, None) for c in (config, judged))
    users = np.unique(some.test[:, 0])
    assert len(users) == 100 and set(np.unique(some.valid[:, 0])) <= set(users)
    for part in ("test", "valid"):
        kept = getattr(whole, part)
        assert np.array_equal(getattr(some, part), kept[np.isin(kept[:, 0], users)]), "as they were"
    everything = [sort_pairs(np.concatenate([s.train, s.valid, s.test])) for s in (whole, some)]
    assert np.array_equal(*everything)
    assert len(run_id(judged)) == len(run_id(config)) and run_id(judged) != run_id(config)
    assert some.data_hash != whole.data_hash
    with pytest.raises(UserError, match=r"protocol\.judged\.users"):
        load(
            config["dataset"],
            {**config["protocol"], "judged": {"users": 0, "seed": 0}},
            tmp_path,
            None,
        )


def test_pairs_that_are_sorted_already_come_out_as_they_are():
    pairs = np.array([[0, 1], [0, 2], [3, 0]])
    assert np.array_equal(sort_pairs(pairs), pairs)
    for wrong in ([[0, 2], [0, 1]], [[1, 0], [0, 5]], [[0, 1], [0, 1]]):
        expected = sorted({tuple(row) for row in wrong})
        assert np.array_equal(sort_pairs(np.array(wrong)), expected)
    assert sort_pairs(np.empty((0, 2), dtype=np.int64)).shape == (0, 2)
