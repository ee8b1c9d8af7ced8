import gzip
import hashlib
import json
import logging
import subprocess
import sys
from collections import Counter

import numpy as np
import pooch
import pytest

from hapens_bench.cli.data import names
from hapens_bench.data import planted, readers, sources
from hapens_bench.data.load import choose_source, load
from hapens_bench.data.sources import SourceFile, fetch_file
from hapens_bench.errors import UserError
from tests.conftest import make_config

TRAIN, TEST = b"0 1 2 3\n1 0 2\n2 4 5 6\n", b"0 5\n1 4\n2 0\n"


@pytest.fixture
def toy(tmp_path):
    """A published split in a mirror, with its checksums."""
    (tmp_path / "mirror").mkdir()
    files = {}
    for name, content in (("train", TRAIN), ("test", TEST)):
        (tmp_path / "mirror" / f"{name}.txt").write_bytes(content)
        files[name] = {
            "name": f"{name}.txt",
            "mirror": f"{name}.txt",
            "url": f"https://example.org/{name}.txt",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    source = {"reader": "adjacency", "licence": "none", "files": files}
    dataset = {"name": "toy", "source": "author", "sources": {"author": source}}
    return dataset, make_config()["protocol"], tmp_path / "cache", tmp_path / "mirror"


def test_parts_are_disjoint_sorted_and_complete(toy):
    split = load(*toy)
    assert (split.n_users, split.n_items) == (3, 7)
    assert len(split.train) + len(split.valid) == 8 and len(split.test) == 3
    assert {tuple(p) for p in split.full_train} == {
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
        (1, 2),
        (2, 4),
        (2, 5),
        (2, 6),
    }


def test_the_cache_gives_the_same_split_and_a_damaged_one_is_made_again(toy, caplog):
    caplog.set_level(logging.INFO, "hapens_bench.data")
    first = load(*toy)
    assert load(*toy).data_hash == first.data_hash
    assert [r.message for r in caplog.records] == [
        "parsing toy (author)",
        "read toy from the cache",
    ]
    (path,) = (toy[2] / "parsed").glob("*.npz")
    content = bytearray(path.read_bytes())
    for place in (5, len(content) // 3, len(content) // 2, len(content) - 40):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        assert load(*toy).data_hash == first.data_hash
        path.write_bytes(content[:place])
        assert load(*toy).data_hash == first.data_hash
    assert any("damaged" in r.message for r in caplog.records)


def test_a_cache_that_cannot_be_written_costs_a_warning(toy, caplog):
    dataset, protocol, cache, mirror = toy
    cache.write_text("a file where a folder should be")
    assert load(dataset, protocol, cache, mirror).n_users == 3
    assert "without it" in caplog.text


def test_a_wrong_checksum_is_refused(toy):
    (toy[3] / "test.txt").write_bytes(TEST + b"2 1\n")
    with pytest.raises(UserError, match="was expected"):
        load(*toy)


def test_a_file_that_is_nowhere_is_told_with_the_way_to_get_it(toy, monkeypatch):
    dataset, protocol, cache, _ = toy

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", no_network)
    with pytest.raises(UserError, match=r"no route to host.*HAPENS_MIRROR"):
        load(dataset, protocol, cache, None)
    dataset["sources"]["author"]["files"]["train"] |= {
        "url": None,
        "manual": "log in at example.org",
    }
    with pytest.raises(UserError, match=r"log in at example.org.*HAPENS_MIRROR"):
        load(dataset, protocol, cache, None)


def test_md5_is_checked_where_only_that_is_published(tmp_path):
    (tmp_path / "x").write_bytes(TRAIN)
    good = SourceFile("x", "x", md5=hashlib.md5(TRAIN).hexdigest())
    assert fetch_file(good, tmp_path / "cache", tmp_path) == tmp_path / "x"
    with pytest.raises(UserError, match=r"has md5 .* was expected"):
        fetch_file(SourceFile("x", "x", md5="0" * 32), tmp_path / "cache", tmp_path)


def test_the_checksum_of_a_mirrors_copy_does_not_bind_the_download(tmp_path, monkeypatch):
    mirrored = hashlib.sha256(TEST).hexdigest()
    file = SourceFile("t", "t", "https://example.org/t", mirror_sha256=mirrored)
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN))
    assert fetch_file(file, tmp_path / "cache", None).read_bytes() == TRAIN
    (tmp_path / "t").write_bytes(TRAIN)
    with pytest.raises(UserError, match=mirrored):
        fetch_file(file, tmp_path / "cache", tmp_path)


def test_a_download_without_a_published_checksum_must_stay_what_it_was(
    tmp_path, monkeypatch, caplog
):
    file = SourceFile("t", "t", "https://example.org/t")
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN))
    path = fetch_file(file, tmp_path, None)
    assert hashlib.sha256(TRAIN).hexdigest() in caplog.text
    path.write_bytes(TRAIN[:-1])
    with pytest.raises(UserError, match="remove it and fetch it again"):
        fetch_file(file, tmp_path, None)
    monkeypatch.setattr(
        sources.pooch, "HTTPDownloader", Served(TEST)
    )  # the publisher has changed the file
    assert fetch_file(file, tmp_path, None).read_bytes() == TEST


def test_a_gzipped_mirror_is_checked_by_its_content_and_told_when_cut_off(tmp_path):
    file = SourceFile("t.txt", "t.txt", sha256=hashlib.sha256(TRAIN).hexdigest())
    packed = tmp_path / "t.txt.gz"
    packed.write_bytes(gzip.compress(TRAIN))
    assert fetch_file(file, tmp_path / "cache", tmp_path) == packed
    packed.write_bytes(gzip.compress(TRAIN)[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        fetch_file(file, tmp_path / "cache", tmp_path)


def test_a_download_into_a_cache_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="HAPENS_CACHE"):
        fetch_file(SourceFile("x", "x", "https://example.org/x"), tmp_path / "cache", None)


def test_other_pairs_than_expected_are_refused(toy):
    dataset, protocol, cache, mirror = toy
    source = dataset["sources"]["author"]
    source["pairs_sha256"] = readers.adjacency(
        {p: mirror / f"{p}.txt" for p in ("train", "test")}
    ).pairs_sha256
    (mirror / "train.txt").write_bytes(
        b"2 6 5 4\n1 2 0\n0 3 2 1\n"
    )  # the same pairs in another order
    del source["files"]["train"]["sha256"]
    load(dataset, protocol, cache, mirror)
    (mirror / "train.txt").write_bytes(
        TRAIN + b"2 1\n"
    )  # without a checksum too, the cached split is not taken for it
    with pytest.raises(UserError, match="the pairs in"):
        load(dataset, protocol, cache, mirror)


def test_leave_one_out_of_ncf_keeps_the_test_items_and_draws_validation_from_train(tmp_path):
    train = "0\t1\t1\t0\n0\t2\t1\t0\n0\t3\t1\t0\n0\t3\t1\t0\n1\t2\t1\t0\n2\t1\t1\t0\n2\t4\t1\t0\n"
    (tmp_path / "train").write_text(train)
    (tmp_path / "test").write_text("0\t3\t1\t0\n1\t4\t1\t0\n2\t2\t1\t0\n")
    files = {part: {"name": part, "mirror": part} for part in ("train", "test")}
    dataset = {
        "name": "toy",
        "source": "raw",
        "sources": {"raw": {"reader": "ncf", "licence": "none", "files": files}},
    }
    protocol = make_config()["protocol"]
    protocol["split"]["kind"] = "leave_one_out"
    split = load(dataset, protocol, tmp_path / "cache", tmp_path)
    assert split.test.tolist() == [[0, 3], [1, 4], [2, 2]]
    assert split.valid[:, 0].tolist() == [0, 2], "user 1 has a single train pair and keeps it"
    assert split.full_train.tolist() == [[0, 1], [0, 2], [1, 2], [2, 1], [2, 4]], (
        "both copies of (0, 3) left train"
    )


def test_a_published_random_split_serves_only_protocols_that_want_one(toy):
    dataset, protocol, cache, mirror = toy
    published = load(*toy)
    other = load(dataset, protocol | {"author_split": False}, cache, mirror)
    assert other.data_hash != published.data_hash
    assert sum(map(len, (other.train, other.valid, other.test))) == 11
    for kind in ("chronological", "leave_one_out"):
        with pytest.raises(UserError, match=r"no times.*split.kind=random"):
            load(dataset, protocol | {"split": protocol["split"] | {"kind": kind}}, cache, mirror)


def test_a_user_with_every_item_is_refused(toy):
    dataset, protocol, cache, mirror = toy
    source = dataset["sources"]["author"]
    for part, content in (("train", b"0 0 1 2\n1 0\n"), ("test", b"1 2\n")):
        (mirror / f"{part}.txt").write_bytes(content)
        source["files"][part]["sha256"] = hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match="user 0 of toy has interacted with all 3 items"):
        load(dataset, protocol, cache, mirror)


def test_only_https_is_downloaded_from(tmp_path):
    file = SourceFile("x", "x", "http://example.org/x")
    with pytest.raises(UserError, match="only https"):
        fetch_file(file, tmp_path, None)


class Served:
    """A downloader in place of pooch's that delivers `content`."""

    def __init__(self, content):
        self.content = content

    def __call__(self, *args, **kwargs):
        return self.deliver

    def deliver(self, url, output_file, _pooch):
        with open(output_file, "wb") as out:
            out.write(self.content)


def test_a_truncated_download_leaves_nothing_behind(tmp_path, monkeypatch):
    file = SourceFile(
        "t.txt", "t.txt", "https://example.org/t.txt", hashlib.sha256(TRAIN).hexdigest()
    )
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN[:7]))
    with pytest.raises(UserError, match="not what was expected") as caught:
        fetch_file(file, tmp_path, None)
    assert "\n" not in str(caught.value)
    assert not [p for p in (tmp_path / "files").iterdir() if p.suffix != ".lock"]
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN))
    assert fetch_file(file, tmp_path, None).read_bytes() == TRAIN


def test_two_processes_on_an_empty_cache_parse_once(toy, tmp_path):
    dataset, protocol, cache, mirror = toy
    job = tmp_path / "job.json"
    job.write_text(json.dumps([dataset, protocol, str(cache), str(mirror)]))
    code = f"""
import json, logging, pathlib, time
from hapens_bench.data import load
logging.basicConfig(level=logging.INFO)
dataset, protocol, cache, mirror = json.loads(pathlib.Path({str(job)!r}).read_text())
adjacency = load.READERS["adjacency"]

def slow(paths):
    time.sleep(2)
    return adjacency(paths)

load.READERS["adjacency"] = slow
print("ready", flush=True)
input()
print(load.load(dataset, protocol, pathlib.Path(cache), pathlib.Path(mirror)).data_hash)
"""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    both = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:  # both start while the other has not finished
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] != ""
    said = Counter("parsing" if "parsing toy" in err else "cache" for _, err in outputs)
    assert said == {"parsing": 1, "cache": 1}


@pytest.mark.parametrize("name", names())
def test_every_data_set_gives_a_sound_split(name, mirror, tmp_path):
    smaller = ["dataset.users=20000", "dataset.items=40000"] if name == "large" else []
    config = make_config(f"dataset={name}", *smaller)
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    parts = [split.train, split.valid, split.test]
    keys = [part[:, 0] * split.n_items + part[:, 1] for part in parts]
    joined = np.concatenate(keys)
    assert len(np.unique(joined)) == len(joined), "parts overlap or hold duplicates"
    for part in parts:
        assert len(part) and part.min() >= 0
        assert part[:, 0].max() < split.n_users and part[:, 1].max() < split.n_items
    paper = config["dataset"].get("paper")
    if paper and name in ("ml-1m", "phones", "sports", "tools", "gowalla"):
        assert (split.n_users, split.n_items, len(joined)) == (
            paper["users"],
            paper["items"],
            paper["interactions"],
        )


def test_leave_one_out_uses_the_published_items(mirror, tmp_path):
    config = make_config("dataset=ml-1m", "dataset.source=gathered", "protocol.author_split=false")
    config["protocol"]["split"]["kind"] = "leave_one_out"
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    assert (split.n_users, split.n_items) == (6028, 3533)
    assert (len(split.train), len(split.valid), len(split.test)) == (563_186, 6028, 6028)


def test_chronological_split_of_a_log_with_times(mirror, tmp_path):
    rules = "protocol.split.kind=chronological", "protocol.split.test=0.1"
    config = make_config("dataset=taobao", "dataset.source=gathered", *rules)
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    total = len(split.train) + len(split.valid) + len(split.test)
    assert total == 318_333 and 0.08 < len(split.test) / total < 0.14


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


def test_planted_is_deterministic_and_its_truth_covers_the_log(tmp_path):
    config = make_config()
    first, again = (load(config["dataset"], config["protocol"], tmp_path, None) for _ in range(2))
    other = load(config["dataset"] | {"seed": 1}, config["protocol"], tmp_path, None)
    assert first.data_hash == again.data_hash != other.data_hash
    truth = {tuple(p) for p in first.relevant}
    log = {tuple(p) for p in np.concatenate([first.train, first.valid, first.test])}
    assert log < truth and 1.9 < len(truth) / len(log) < 2.1
    popularity = np.sort(np.bincount(first.full_train[:, 1], minlength=first.n_items))[::-1]
    assert popularity[:200].sum() > 0.3 * popularity.sum(), "popularity follows a power law"


@pytest.mark.parametrize(
    ("key", "value"), [("users", 0), ("items", 20), ("noise", 0), ("clusters", 1.5), ("extra", 1)]
)
def test_planted_refuses_what_it_cannot_generate(key, value, tmp_path):
    config = make_config()
    with pytest.raises(UserError, match=f"dataset.{key}"):
        load(config["dataset"] | {key: value}, config["protocol"], tmp_path, None)
