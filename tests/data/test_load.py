"""A data set is read, split and kept in the cache; every one of conf/dataset is sound."""

import hashlib
import json
import logging
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from hapens_bench.cli.data import names
from hapens_bench.data import readers
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from tests.conftest import make_config
from tests.data.conftest import TRAIN


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


def test_a_reader_from_outside_is_named_by_its_module(toy, tmp_path, monkeypatch):
    dataset, protocol, cache, mirror = toy
    (tmp_path / "outside_reader.py").write_text(
        "from hapens_bench.data.readers import adjacency\n"
        "def read(paths):\n    return adjacency(paths).as_log()\n"
        "def wrong(paths):\n    return 5\nnothing = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = dataset["sources"]["author"]
    source["reader"] = "outside_reader.read"
    split = load(dataset, protocol, cache, mirror)
    assert (split.n_users, split.n_items) == (3, 7)
    for reader, message in (
        ("nope", r"the reader 'nope' cannot be taken \(no such reader\); choose one of movielens"),
        ("nowhere.read", "No module named 'nowhere'"),
        ("outside_reader.nope", "has no attribute 'nope'"),
        ("outside_reader.nothing", "it is no function"),
        ("outside_reader.wrong", "returned int, but a reader returns"),
    ):
        source["reader"] = reader
        with pytest.raises(UserError, match=message):
            load(dataset, protocol, cache, mirror)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reader": None}, "dataset.sources.author lacks its reader"),
        ({"reader": [1]}, "dataset.sources.author lacks its reader"),
        ({"files": None}, "dataset.sources.author lacks its files"),
        ({"files": {"log": {"name": "x"}}}, "missing 1 required positional argument: 'mirror'"),
        ({"files": {"log": {"name": "x", "mirror": "x", "sha": 1}}}, "keyword argument 'sha'"),
        ({"files": {"log": "x"}}, "a file of dataset.sources.author is wrong"),
    ],
)
def test_a_source_that_lacks_something_is_told_in_one_sentence(toy, change, message):
    dataset, protocol, cache, mirror = toy
    dataset["sources"]["author"] |= change
    with pytest.raises(UserError, match=message):
        load(dataset, protocol, cache, mirror)


def test_a_published_split_is_called_by_its_numbers(toy):
    assert [ids.tolist() for ids in load(*toy).called()] == [list("012"), list("0123456")]


def test_an_absolute_place_in_a_mirror_needs_no_mirror(toy):
    dataset, protocol, cache, mirror = toy
    for part in dataset["sources"]["author"]["files"].values():
        part["mirror"] = str(mirror / part["mirror"])
    assert load(dataset, protocol, cache, None).n_users == 3


def test_a_user_with_every_item_is_refused(toy):
    dataset, protocol, cache, mirror = toy
    source = dataset["sources"]["author"]
    for part, content in (("train", b"0 0 1 2\n1 0\n"), ("test", b"1 2\n")):
        (mirror / f"{part}.txt").write_bytes(content)
        source["files"][part]["sha256"] = hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match="user 0 of toy has interacted with all 3 items"):
        load(dataset, protocol, cache, mirror)


def test_two_processes_on_an_empty_cache_parse_once(toy, tmp_path):
    dataset, protocol, cache, mirror = toy
    job = tmp_path / "job.json"
    job.write_text(json.dumps([dataset, protocol, str(cache), str(mirror)]))
    code = f"""
import json, logging, pathlib, time
from hapens_bench.data import load, readers
logging.basicConfig(level=logging.INFO)
dataset, protocol, cache, mirror = json.loads(pathlib.Path({str(job)!r}).read_text())
adjacency = readers.adjacency

def slow(paths):
    time.sleep(2)
    return adjacency(paths)

readers.READERS["adjacency"] = slow
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


@pytest.mark.parametrize("name", sorted({*names()} - {"mine"}))
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
    if paper and name in (
        "ml-1m",
        "phones",
        "sports",
        "tools",
        "gowalla",
        "irb_health",
        "irb_gowalla",
    ):
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
