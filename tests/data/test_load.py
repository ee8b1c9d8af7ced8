import hashlib
import logging
import subprocess
import sys
from collections import Counter

import numpy as np
import pooch
import pytest

from hapens_bench.data import sources
from hapens_bench.data.commands import names
from hapens_bench.data.load import load
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
    assert [r.message for r in caplog.records] == ["parsing toy (author)", "read toy from the cache"]
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
    dataset["sources"]["author"]["files"]["train"] |= {"url": None, "manual": "log in at example.org"}
    with pytest.raises(UserError, match=r"log in at example.org.*HAPENS_MIRROR"):
        load(dataset, protocol, cache, None)


def test_only_https_is_downloaded_from(tmp_path):
    file = SourceFile("x", "x", "http://example.org/x")
    with pytest.raises(UserError, match="only https"):
        fetch_file(file, tmp_path, None)


class Served:
    """A downloader in pooch's place that delivers `content`."""

    def __init__(self, content):
        self.content = content

    def __call__(self, *args, **kwargs):
        return self.deliver

    def deliver(self, url, output_file, _pooch):
        with open(output_file, "wb") as out:
            out.write(self.content)


def test_a_truncated_download_leaves_nothing_behind(tmp_path, monkeypatch):
    file = SourceFile("t.txt", "t.txt", "https://example.org/t.txt", hashlib.sha256(TRAIN).hexdigest())
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN[:7]))
    with pytest.raises(UserError, match="not what was expected") as caught:
        fetch_file(file, tmp_path, None)
    assert "\n" not in str(caught.value)
    assert not [p for p in (tmp_path / "files").iterdir() if p.suffix != ".lock"]
    monkeypatch.setattr(sources.pooch, "HTTPDownloader", Served(TRAIN))
    assert fetch_file(file, tmp_path, None).read_bytes() == TRAIN


def test_two_processes_on_an_empty_cache_parse_once(mirror, tmp_path):
    code = (
        "import logging, sys; from pathlib import Path; logging.basicConfig(level=logging.INFO);"
        "from tests.conftest import make_config; from hapens_bench.data.load import load;"
        "c = make_config('dataset=tools');"
        f"print(load(c['dataset'], c['protocol'], Path({str(tmp_path)!r}), Path({str(mirror)!r})).data_hash)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] != ""
    said = Counter("parsing" if "parsing tools" in err else "cache" for _, err in outputs)
    assert said == {"parsing": 1, "cache": 1}


@pytest.mark.parametrize("name", names())
def test_every_data_set_gives_a_sound_split(name, mirror, tmp_path):
    config = make_config(f"dataset={name}")
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
    config = make_config("dataset=taobao", "protocol.split.kind=chronological", "protocol.split.test=0.1")
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


@pytest.mark.parametrize(("key", "value"), [("users", 0), ("items", 20), ("noise", 0), ("clusters", 1.5), ("extra", 1)])
def test_planted_refuses_what_it_cannot_generate(key, value, tmp_path):
    config = make_config()
    with pytest.raises(UserError, match=f"dataset.{key}"):
        load(config["dataset"] | {key: value}, config["protocol"], tmp_path, None)
