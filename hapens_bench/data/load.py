"""From a data set's YAML and a protocol to a split, parsed once and cached."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import FileLock

from hapens_bench.config.own_files import PARTS, files_of, is_own
from hapens_bench.data import planted, power_law
from hapens_bench.data.cache import read_cache, write_cache
from hapens_bench.data.interactions import Interactions, Split
from hapens_bench.data.noise import add_noise
from hapens_bench.data.own.read import check_own, one_each, read_own, told
from hapens_bench.data.protocol import check_keys, checked, keep_published, relabelled, split_log
from hapens_bench.data.published import Published
from hapens_bench.data.readers import KINDS, VERSION, reader_of
from hapens_bench.data.sources import fetch_file, files_of_source
from hapens_bench.data.splits import judge_some
from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")


class Kind(Enum):
    """What the split of a data set is made of, as the structure of its YAML says."""

    PLANTED = "generated, with the relevance of every pair known"
    POWER_LAW = "generated, of any size"
    LOG = "a log in the files of a source"
    PUBLISHED = "a split in the files of a source"
    OWN = "a log or a split in files of one's own"


def kind_of(dataset: Mapping[str, Any], protocol: Mapping[str, Any]) -> Kind:
    """Return the kind of a data set under a protocol.

    Raises:
        UserError: when its YAML has none of the keys that would say so.
    """
    if is_own(dataset):
        return Kind.OWN
    if "sources" in dataset:
        published = keeps_split(choose_source(dataset, protocol), protocol)
        return Kind.PUBLISHED if published else Kind.LOG
    if "generator" in dataset:
        return Kind.POWER_LAW
    if planted.KEYS.keys() & dataset.keys():
        return Kind.PLANTED
    raise UserError(
        f"the data set {dataset['name']} has neither `sources` or `path` (files) nor `generator`, "
        f"nor a key of planted ({', '.join(planted.KEYS)})"
    )


def load(
    dataset: Mapping[str, Any], protocol: Mapping[str, Any], cache: Path, mirror: Path | None
) -> Split:
    """Return the split that a protocol makes of a data set, from the cache if possible.

    Then the evaluated users are sampled; last, noise is added and pairs are relabelled.

    Raises:
        UserError: when the files are missing or unreadable, or the protocol does not fit them.
    """
    check_keys(protocol)
    split = _load(dataset, protocol, cache, mirror)
    if protocol.get("judged") is not None:
        split = judge_some(split, protocol["judged"]["users"], protocol["judged"]["seed"])
    if protocol.get("noise") is not None:
        noise = protocol["noise"]
        split = checked(add_noise(split, noise["users"], noise["most"], noise["seed"]))
    if protocol.get("relabel") is not None:
        split = relabelled(split, int(protocol["relabel"]["seed"]))
    return split


def _load(
    dataset: Mapping[str, Any], protocol: Mapping[str, Any], cache: Path, mirror: Path | None
) -> Split:
    name, kind = dataset["name"], kind_of(dataset, protocol)
    if kind is Kind.POWER_LAW:
        keys = {key: value for key, value in dataset.items() if key != "paper"}
        return split_log(name, power_law.generate(keys), protocol)
    if kind is Kind.PLANTED:
        log, relevant = planted.generate(dataset)
        return split_log(name, log, protocol, relevant)
    if kind is Kind.OWN:
        check_own(dataset)
        content = {key: value for key, value in dataset.items() if key not in PARTS}
        path = _cache_path(name, [content, sorted(files_of(dataset))], protocol, cache)
        return _cached(name, path, lambda: _own(dataset, protocol))
    source = choose_source(dataset, protocol)
    path = _cache_path(name, [source, _unpinned(source, cache, mirror)], protocol, cache)
    return _cached(name, path, lambda: _parse(name, source, protocol, kind, cache, mirror))


def _cached(name: str, path: Path, parse: Callable[[], Split]) -> Split:
    """Return the split that is cached at a path, else parse and cache it, one process at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        lock.acquire()
    except OSError as error:
        LOG.warning("the cache cannot be used (%s); %s is parsed without it", error, name)
        return parse()
    try:
        split = read_cache(path, name)
        if split is None:
            split = parse()
            write_cache(path, split)
        return split
    finally:
        lock.release()


def _own(dataset: Mapping[str, Any], protocol: Mapping[str, Any]) -> Split:
    name, read = dataset["name"], told(read_own(dataset))
    if isinstance(read, Interactions):
        return split_log(name, read, protocol)
    if any(value is not None for value in protocol["filter"].values()):
        LOG.warning("protocol.filter does not touch the split of %s, which is taken as it is", name)
    if protocol["split"]["kind"] == "leave_one_out":
        one_each(dataset, read)
    return keep_published(name, read, protocol)


def choose_source(dataset: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source of a published split if the protocol takes one, else `dataset.source`.

    A published split by time must be named by `dataset.source`, because logs can be split by time,
    too.
    """
    sources, name, kind = dataset["sources"], dataset.get("source"), protocol["split"]["kind"]
    for variant, source in sources.items():
        files_of_source(variant, source)
    if kind == "random" and "author" in sources and keeps_split(sources["author"], protocol):
        name = "author"
    if protocol["author_split"] and kind == "leave_one_out":
        name = next(
            (variant for variant, source in sources.items() if source["reader"] == kind), name
        )
    return named_source(dataset, name)


def named_source(dataset: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return a source of a data set, with its name as `variant`.

    Raises:
        UserError: when there is none of that name.
    """
    sources = dataset["sources"]
    if name not in sources:
        raise UserError(
            f"dataset.source is {name!r}, but {dataset['name']} has {', '.join(sources)}"
        )
    return dict(sources[name]) | {"variant": name}


def keeps_split(source: Mapping[str, Any], protocol: Mapping[str, Any]) -> bool:
    """Return whether a protocol takes the published split of a source as it is."""
    kind = protocol["split"]["kind"]
    wanted = kind == "leave_one_out" or bool(protocol["author_split"])
    return wanted and KINDS.get(source["reader"]) == kind


def _cache_path(
    name: str, content: Sequence[Any], protocol: Mapping[str, Any], cache: Path
) -> Path:
    """Return the path of a parsed split, with a hash of everything it depends on."""
    deciding = ("author_split", "split", "filter", "subset", "valid", "candidates")
    rules = {key: protocol[key] for key in deciding if key in protocol}
    key = json.dumps([VERSION, *content, rules], sort_keys=True).encode()
    return cache / "parsed" / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}.npz"


def _unpinned(source: Mapping[str, Any], cache: Path, mirror: Path | None) -> list[tuple[int, int]]:
    """Return size and time of the files without a checksum.

    With them in its key, a cached split is not mistaken for that of a changed file.
    """
    files = files_of_source(source["variant"], source).values()
    states = [
        fetch_file(file, cache, mirror).stat()
        for file in files
        if not (file.sha256 or file.md5 or file.mirror_sha256)
    ]
    return [(state.st_size, state.st_mtime_ns) for state in states]


def _parse(
    name: str,
    source: Mapping[str, Any],
    protocol: Mapping[str, Any],
    kind: Kind,
    cache: Path,
    mirror: Path | None,
) -> Split:
    paths = {
        key: fetch_file(file, cache, mirror)
        for key, file in files_of_source(source["variant"], source).items()
    }
    LOG.info("parsing %s (%s)", name, source["variant"])
    read = reader_of(source["reader"])(paths)
    if not isinstance(read, (Interactions, Published)):
        raise UserError(
            f"the reader {source['reader']} returned {type(read).__name__}, but a reader returns "
            "hapens_bench.data.interactions.Interactions"
        )
    if isinstance(read, Published):
        if source.get("pairs_sha256", read.pairs_sha256) != read.pairs_sha256:
            raise UserError(
                f"the pairs in {' and '.join(map(str, paths.values()))} have sha256 "
                f"{read.pairs_sha256}, but {source['pairs_sha256']} was expected; "
                "remove them and fetch them again"
            )
        if kind is Kind.PUBLISHED:
            return keep_published(name, read, protocol)
        read = read.as_log()
    return split_log(name, read, protocol)
