"""Files come from a mirror or a download, and only as they were published."""

import gzip
import hashlib

import pooch
import pytest

from hapens_bench.data import sources
from hapens_bench.data.load import load
from hapens_bench.data.sources import SourceFile, fetch_file
from hapens_bench.errors import UserError
from tests.data.conftest import TEST, TRAIN


class Served:
    """A downloader in place of pooch's that delivers `content`."""

    def __init__(self, content):
        self.content = content

    def __call__(self, *args, **kwargs):
        return self.deliver

    def deliver(self, url, output_file, _pooch):
        with open(output_file, "wb") as out:
            out.write(self.content)


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


def test_only_https_is_downloaded_from(tmp_path):
    file = SourceFile("x", "x", "http://example.org/x")
    with pytest.raises(UserError, match="only https"):
        fetch_file(file, tmp_path, None)


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
