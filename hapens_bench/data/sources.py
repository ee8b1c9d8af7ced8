"""Files of a data set: from a local mirror first, then the public address, always verified."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import logging
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
from filelock import FileLock

from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    `sha256` is the digest of the file as published (`md5` where only that is published), and
    `mirror_sha256` that of a mirror's copy where its bytes differ. A mirror may hold the file
    gzipped (`name.gz`); the digest is then that of the content.
    """

    name: str
    mirror: str
    url: str | None = None
    sha256: str | None = None
    md5: str | None = None
    mirror_sha256: str | None = None
    manual: str = ""


def files_of_source(name: str, source: Mapping[str, Any]) -> dict[str, SourceFile]:
    """Return the files of a source, by key.

    Raises:
        UserError: when a key is missing or unknown.
    """
    if not isinstance(source, Mapping) or not isinstance(source.get("reader"), str):
        raise UserError(f"dataset.sources.{name} lacks its reader, the name of a function")
    if not isinstance(source.get("files"), Mapping) or not source["files"]:
        raise UserError(f"dataset.sources.{name} lacks its files, sections with name and mirror")
    try:
        return {key: SourceFile(**section) for key, section in source["files"].items()}
    except TypeError as error:
        reason = str(error).rpartition("__init__() ")[2]
        raise UserError(f"a file of dataset.sources.{name} is wrong: it {reason}") from None


def find_file(file: SourceFile, cache: Path, mirror: Path | None) -> Path | None:
    """Return the file's path in the mirror or the downloads, or None; nothing is fetched.

    Where the place in the mirror is an absolute path, it needs no mirror.
    """
    folder = Path("/") if Path(file.mirror).is_absolute() else mirror
    places = [] if folder is None else [folder / file.mirror, folder / f"{file.mirror}.gz"]
    return next((p for p in [*places, download_path(file, cache)] if p.is_file()), None)


def fetch_file(file: SourceFile, cache: Path, mirror: Path | None) -> Path:
    """Return the path of a verified local copy of a file.

    Raises:
        UserError: when it is not available, or its checksum is wrong.
    """
    path = find_file(file, cache, mirror)
    if path is None:
        path = _download(file, cache)
    problem = wrong_with(file, path, cache)
    if problem:
        if path == download_path(file, cache):
            path.unlink()
            first_seen(path).unlink(missing_ok=True)
        raise UserError(problem)
    return path


def checksums(file: SourceFile, path: Path, cache: Path) -> dict[str, tuple[str, ...]]:
    """Return the digests that a copy at this path may have, by algorithm, as far as known.

    A download without a published digest must keep the one it had at first.
    """
    mirrored = path != download_path(file, cache)
    sha256 = tuple(
        digest for digest in (file.sha256, file.mirror_sha256 if mirrored else None) if digest
    )
    if sha256:
        return {"sha256": sha256}
    if file.md5:
        return {"md5": (file.md5,)}
    if not mirrored and first_seen(path).is_file():
        return {"sha256": (first_seen(path).read_text().strip(),)}
    return {}


def wrong_with(file: SourceFile, path: Path, cache: Path) -> str | None:
    """Return a sentence when a copy has the wrong checksum, else None.

    Raises:
        UserError: when it cannot be read.
    """
    inflate = path.suffix == ".gz" and not file.name.endswith(".gz")
    for algorithm, expected in checksums(file, path, cache).items():
        try:
            with gzip.open(path) if inflate else open(path, "rb") as stream:
                digest = hashlib.file_digest(stream, algorithm).hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(
                f"{path} cannot be read ({error}); remove it and fetch it again"
            ) from None
        if digest not in expected:
            return (
                f"{path} has {algorithm} {digest}, but {' or '.join(expected)} was expected; "
                "remove it and fetch it again"
            )
    return None


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unzipped if it is gzipped, without a byte order mark.

    Raises:
        UserError: when it is empty, truncated or not readable.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        content = content.removeprefix(codecs.BOM_UTF8)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(
            f"{path} is cut off or damaged ({error}); remove it and fetch it again"
        ) from None
    if not content.strip():
        raise UserError(f"{path} is empty")
    return content


def download_path(file: SourceFile, cache: Path) -> Path:
    """Return the path of a download of this file."""
    key = hashlib.sha256(f"{file.url} {file.mirror}".encode()).hexdigest()[:8]
    return cache / "files" / f"{key}-{file.name}"


def first_seen(download: Path) -> Path:
    """Return the path of the SHA-256 that a download without a published digest had at first."""
    return download.with_name(f"{download.name}.sha256")


def _download(file: SourceFile, cache: Path) -> Path:
    """Download with pooch to a temporary name, verify, rename; one process at a time."""
    by_hand = f"set HAPENS_MIRROR to a folder that holds {file.mirror}"
    if file.manual:
        by_hand = f"{file.manual}, then {by_hand}"
    if file.url is None:
        raise UserError(f"{file.name} cannot be downloaded; {by_hand}")
    if urlsplit(file.url).scheme != "https":
        raise UserError(
            f"{file.name} would come from {file.url}, but only https addresses are allowed"
        )
    target = download_path(file, cache)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{file.name} cannot be kept in the cache ({error}); "
            f"set HAPENS_CACHE to a folder that can be written, or {by_hand}"
        ) from None
    known = file.sha256 or (f"md5:{file.md5}" if file.md5 else None)
    bar = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    try:
        with FileLock(f"{target}.lock"):
            pooch.retrieve(
                file.url, known_hash=known, fname=target.name, path=target.parent, downloader=bar
            )
            if known is None:
                digest = pooch.file_hash(target)
                first_seen(target).write_text(f"{digest}\n")
                LOG.warning(
                    "%s has no published checksum; from now on it must have sha256 %s",
                    file.name,
                    digest,
                )
    except ValueError as error:
        raise UserError(
            f"the download of {file.name} is not what was expected: {' '.join(str(error).split())}"
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{file.name} cannot be downloaded from {file.url} ({reason}); {by_hand}"
        ) from None
    return target


def cache_dir() -> Path:
    """Return the folder of downloads and parsed data: $HAPENS_CACHE or ~/.cache/hapens_bench."""
    return Path(os.environ.get("HAPENS_CACHE", "~/.cache/hapens_bench")).expanduser()


def mirror_dir() -> Path | None:
    """Return the folder $HAPENS_MIRROR, or None."""
    folder = os.environ.get("HAPENS_MIRROR")
    return Path(folder).expanduser() if folder else None
