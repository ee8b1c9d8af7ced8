"""Splits by time under the sdns protocol, and its part of the users."""

import numpy as np
import pytest

from hapens_bench.data import planted
from hapens_bench.data.load import choose_source, load
from hapens_bench.errors import UserError
from tests.conftest import make_config


@pytest.fixture
def sdns(tmp_path):
    """A function that returns the split of a UserBehavior log under the sdns protocol."""
    protocol = make_config("dataset=tmall", "protocol=sdns")["protocol"]
    files = {"log": {"name": "log.csv", "mirror": "log.csv"}}
    raw = {"reader": "user_behavior", "licence": "none", "files": files}

    def split(rows, **changes):
        lines = [f"{user},{item},7,{behaviour},{time}" for user, item, behaviour, time in rows]
        (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
        dataset = {"name": "toy", "source": "raw", "sources": {"raw": raw}}
        return load(dataset, protocol | changes, tmp_path / "cache", tmp_path)

    return split


def test_sdns_counts_every_behaviour_once_at_its_first_time_and_splits_by_time(sdns):
    rows = [
        (0, item, "pv", 100 - item) for item in range(10)
    ]  # item 0 is the latest, item 1 the one before it
    rows += [(0, 9, "buy", 200)]  # the earliest pair comes again: it stays the earliest
    rows += [(1, item, "fav", item) for item in range(9)] + [
        (1, 3, "cart", 50)
    ]  # ten records, nine pairs
    split = sdns(rows)
    assert split.n_users == 1 and len(split.train) == 8
    assert split.test.tolist() == [[0, 0]] and split.valid.tolist() == [[0, 1]]


def test_sdns_takes_a_seeded_part_of_the_users_and_says_when_there_are_too_few(sdns, caplog):
    rows = [(user, (user + item) % 15, "pv", item) for user in range(12) for item in range(10)]
    some = sdns(rows, subset={"users": 5, "seed": 0})
    assert some.n_users == 5 and (np.bincount(some.train[:, 0]) == 8).all()
    assert sdns(rows, subset={"users": 5, "seed": 0}).data_hash == some.data_hash
    assert len({sdns(rows, subset={"users": 5, "seed": s}).data_hash for s in range(4)}) > 1
    assert "all are taken" not in caplog.text
    assert sdns(rows, subset={"users": 13, "seed": 0}).n_users == 12
    assert "toy has 12 users that pass the filter, not 13: all are taken" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"users": 0, "seed": 0}, {"users": 1.5, "seed": 0}, {"users": 4}, {"seed": 0, "n": 1}]
)
def test_a_subset_that_makes_no_sense_is_refused(sdns, wrong):
    with pytest.raises(UserError, match=r"protocol\.subset"):
        sdns([(0, 0, "pv", 0)], subset=wrong)


def test_sdns_of_planted_is_chronological(tmp_path):
    config = make_config("protocol=sdns")
    split = load(config["dataset"], config["protocol"], tmp_path, None)
    log, _ = planted.generate(config["dataset"])
    time = np.empty((split.n_users, split.n_items), dtype=np.int64)
    time[log.user, log.item] = log.time
    for earlier, later in ((split.train, split.valid), (split.full_train, split.test)):
        latest = np.full(split.n_users, -1)
        np.maximum.at(latest, earlier[:, 0], time[tuple(earlier.T)])
        assert (time[tuple(later.T)] > latest[later[:, 0]]).all()


@pytest.mark.parametrize(
    ("name", "users"), [("taobao", 13_256), ("tmall", 10_000), ("gowalla", 29_858)]
)
def test_sdns_of_the_papers_sets(name, users, mirror, tmp_path):
    gathered = [] if name == "gowalla" else ["dataset.source=gathered"]
    config = make_config(f"dataset={name}", "protocol=sdns", *gathered)
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    counts = [
        np.bincount(part[:, 0], minlength=split.n_users)
        for part in (split.train, split.valid, split.test)
    ]
    assert split.n_users == users
    if name == "gowalla":
        published = load(config["dataset"], make_config()["protocol"], tmp_path, mirror)
        assert np.array_equal(split.test, published.test)
        assert np.array_equal(split.full_train, published.full_train)
        assert len(split.valid) == 81_013
        return
    n = sum(counts)
    assert n.min() >= 10 and all(part.min() >= 1 for part in counts)
    assert np.array_equal(counts[2], np.floor(0.1 * n + 0.5))
    assert np.array_equal(counts[1], np.floor((n - counts[2]) / 9 + 0.5))


@pytest.mark.parametrize("name", ["taobao", "tmall"])
def test_the_authors_split_is_read_for_splits_by_time_only(name, mirror, tmp_path):
    def source(*overrides):
        config = make_config(f"dataset={name}", *overrides)
        return choose_source(config["dataset"], config["protocol"])["variant"]

    assert source("protocol=sdns") == source("protocol.split.kind=chronological") == "author"
    assert source() == source("protocol=clean") == source("protocol=gdns") == "gathered"
    assert source("protocol=sdns", "dataset.source=gathered") == "gathered"
    assert source("protocol=sdns", "dataset.source=raw") == "raw"
    config = make_config(f"dataset={name}", "dataset.source=author")  # a random split of all pairs
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    total = sum(map(len, (split.train, split.valid, split.test)))
    assert total == config["dataset"]["paper"]["interactions"]
    config = make_config(f"dataset={name}", "protocol=sdns", "protocol.author_split=false")
    with pytest.raises(UserError, match="this data source has no times"):
        load(config["dataset"], config["protocol"], tmp_path, mirror)


def test_a_split_by_time_of_ml_1m_in_order(mirror, tmp_path):
    config = make_config("dataset=ml-1m", "dataset.source=order", "protocol=sdns")
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    with np.load(mirror / "ml1m_order" / "ml1m_order.npz", allow_pickle=False) as arrays:
        user, item = arrays["user"], arrays["item"].tolist()
        items = list(dict.fromkeys(item))  # by first appearance, as they are numbered
        first = [
            items.index(i)
            for i, items_of_user in zip(item, user == user[0], strict=True)
            if items_of_user
        ]
    items_of_user = [
        part[part[:, 0] == 0, 1].tolist() for part in (split.train, split.valid, split.test)
    ]
    n = len(first)
    assert [len(part) for part in items_of_user] == [n - 10, 5, 5] and n == 53
    assert items_of_user == [sorted(first[:-10]), sorted(first[-10:-5]), sorted(first[-5:])]
    assert (split.n_users, split.n_items) == (6040, 3706)
