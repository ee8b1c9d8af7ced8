"""From a data set's YAML and a protocol to a split, parsed once and cached."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from hapens_bench.config.keys import Key, problems
from hapens_bench.data import filters, planted, power_law, splits
from hapens_bench.data.interactions import IntArray, Interactions, Split, sort_pairs, without
from hapens_bench.data.negatives import draw_negatives
from hapens_bench.data.noise import add_noise
from hapens_bench.data.parsing import DAMAGED
from hapens_bench.data.readers import KINDS, READERS, VERSION, Published
from hapens_bench.data.sources import SourceFile, fetch_file
from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")
SPLIT_KEYS = {
    "kind": Key(str, choices=("random", "chronological", "leave_one_out")),
    "test": Key(float, above=0, high=0.9),
    "seed": Key(int, low=0),
}
VALID_KEYS = {"share": Key(float, low=0, high=0.9), "seed": Key(int, low=0)}
SUBSET_KEYS = {"users": Key(int, low=1, optional=True), "seed": Key(int, low=0)}
FILTER_KEYS = {
    "min_rating": Key(float, optional=True),
    "k_core": Key(int, low=1, optional=True),
    "min_user": Key(int, low=1, optional=True),
}
NOISE_KEYS = {"users": Key(float, low=0, high=1), "most": Key(int, low=1), "seed": Key(int, low=0)}
CANDIDATE_KEYS = {"negatives": Key(int, low=1), "seed": Key(int, low=0)}
JUDGED_KEYS = {"users": Key(int, low=1), "seed": Key(int, low=0)}
RELABEL_KEYS = {"seed": Key(int, low=0)}


def load(
    dataset: Mapping[str, Any], protocol: Mapping[str, Any], cache: Path, mirror: Path | None
) -> Split:
    """Give the split that a protocol makes of a data set, from the cache where it is there.

    Who is judged is drawn after that; then noise and relabelled pairs are put in.

    Raises:
        UserError: when the files cannot be had or read, or the protocol does not fit them.
    """
    _check_keys(protocol)
    split = _load(dataset, protocol, cache, mirror)
    if protocol.get("judged") is not None:
        split = splits.judge_some(split, protocol["judged"]["users"], protocol["judged"]["seed"])
    if protocol.get("noise") is not None:
        noise = protocol["noise"]
        split = _checked(add_noise(split, noise["users"], noise["most"], noise["seed"]))
    return (
        split
        if protocol.get("relabel") is None
        else _relabelled(split, int(protocol["relabel"]["seed"]))
    )


def _check_keys(protocol: Mapping[str, Any]) -> None:
    found = list(problems("protocol.split", SPLIT_KEYS, protocol["split"]))
    found += problems("protocol.valid", VALID_KEYS, protocol["valid"])
    found += problems("protocol.filter", FILTER_KEYS, protocol["filter"])
    optional = {"candidates": CANDIDATE_KEYS, "subset": SUBSET_KEYS, "noise": NOISE_KEYS}
    optional |= {"relabel": RELABEL_KEYS, "judged": JUDGED_KEYS}
    for name, keys in optional.items():
        if protocol.get(name) is not None:
            found += problems(f"protocol.{name}", keys, protocol[name])
    if found:
        raise UserError("; ".join(found))


def _load(
    dataset: Mapping[str, Any], protocol: Mapping[str, Any], cache: Path, mirror: Path | None
) -> Split:
    if "generator" in dataset:
        log = power_law.generate({key: value for key, value in dataset.items() if key != "paper"})
        return _with_negatives(_checked(_split(dataset["name"], log, protocol, None)), protocol)
    if "sources" not in dataset:
        log, relevant = planted.generate(dataset)
        return _with_negatives(_checked(_split(dataset["name"], log, protocol, relevant)), protocol)
    source = choose_source(dataset, protocol)
    deciding = ("author_split", "split", "filter", "subset", "valid", "candidates")
    rules = {key: protocol[key] for key in deciding if key in protocol}
    unpinned = _unpinned(source, cache, mirror)
    key = hashlib.sha256(
        json.dumps([VERSION, source, rules, unpinned], sort_keys=True).encode()
    ).hexdigest()[:16]
    path = cache / "parsed" / f"{dataset['name']}-{key}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        lock.acquire()
    except OSError as error:
        LOG.warning(
            "the cache cannot be used (%s); %s is parsed without it", error, dataset["name"]
        )
        return _parse(dataset["name"], source, protocol, cache, mirror)
    try:
        split = _read_cache(path, dataset["name"])
        if split is None:
            split = _parse(dataset["name"], source, protocol, cache, mirror)
            _write_cache(path, split)
        return split
    finally:
        lock.release()


def choose_source(dataset: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the published split where the protocol wants one that is there, else `dataset.source`.

    A published split by time is named by `dataset.source`, because logs can be split by time, too.
    """
    sources, name, kind = dataset["sources"], dataset["source"], protocol["split"]["kind"]
    if kind == "random" and "author" in sources and keeps_split(sources["author"], protocol):
        name = "author"
    if protocol["author_split"] and kind == "leave_one_out":
        name = next(
            (variant for variant, source in sources.items() if source["reader"] == kind), name
        )
    return named_source(dataset, name)


def named_source(dataset: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give a source of a data set, with its name as `variant`.

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
    """Tell whether a protocol takes the split of a source's files as it is."""
    kind = protocol["split"]["kind"]
    wanted = kind == "leave_one_out" or bool(protocol["author_split"])
    return wanted and KINDS.get(source["reader"]) == kind


def _unpinned(source: Mapping[str, Any], cache: Path, mirror: Path | None) -> list[tuple[int, int]]:
    """Give size and time of the files that have no checksum, so that a cached split is not taken for a changed file's."""
    parts = (SourceFile.of(section) for section in source["files"].values())
    states = [
        fetch_file(f, cache, mirror).stat()
        for f in parts
        if not (f.sha256 or f.md5 or f.mirror_sha256)
    ]
    return [(state.st_size, state.st_mtime_ns) for state in states]


def _parse(
    name: str,
    source: Mapping[str, Any],
    protocol: Mapping[str, Any],
    cache: Path,
    mirror: Path | None,
) -> Split:
    paths = {
        part: fetch_file(SourceFile.of(f), cache, mirror) for part, f in source["files"].items()
    }
    LOG.info("parsing %s (%s)", name, source["variant"])
    read = READERS[source["reader"]](paths)
    if isinstance(read, Published):
        if source.get("pairs_sha256", read.pairs_sha256) != read.pairs_sha256:
            raise UserError(
                f"the pairs in {' and '.join(map(str, paths.values()))} have sha256 {read.pairs_sha256}, "
                f"but {source['pairs_sha256']} was expected; remove them and fetch them again"
            )
        if keeps_split(source, protocol):
            return _with_negatives(
                _checked(_published(name, read, protocol)), protocol, read.negatives
            )
        read = read.as_log()
    return _with_negatives(_checked(_split(name, read, protocol, None)), protocol)


def _published(name: str, read: Published, protocol: Mapping[str, Any]) -> Split:
    """Keep a published split; second copies of its held-out pairs leave the train part.

    Where it has no validation part: one random pair of each user for leave-one-out, else the protocol's share of train.
    """
    test = sort_pairs(read.test)
    if read.valid is not None:
        valid = sort_pairs(read.valid)
        train = without(sort_pairs(read.train), np.concatenate([valid, test]), read.n_items)
        return Split(name, read.n_users, read.n_items, train, valid, test)
    train = without(sort_pairs(read.train), test, read.n_items)
    if protocol["split"]["kind"] == "leave_one_out":
        held = splits.one_per_user(train, protocol["valid"]["seed"])
    else:
        held = splits.carve_validation(train, protocol["valid"]["share"], protocol["valid"]["seed"])
    return Split(name, read.n_users, read.n_items, train[~held], train[held], test)


def _with_negatives(
    split: Split, protocol: Mapping[str, Any], published: IntArray | None = None
) -> Split:
    """Add what held-out items are ranked against, where the protocol wants it: the published lists, or drawn ones of its seed."""
    rule = protocol.get("candidates")
    if rule is None:
        return split
    shape = split.n_users, int(rule["negatives"])
    if published is None or published.shape != shape:
        known = np.concatenate([split.train, split.valid, split.test])
        published = draw_negatives(known, split.n_users, split.n_items, shape[1], int(rule["seed"]))
    return replace(split, negatives=published)


def _relabelled(split: Split, seed: int) -> Split:
    """Take a random train pair of each user with at least two out of train: a negative there that is known to be false."""
    out = splits.one_per_user(split.train, seed)
    return replace(split, train=split.train[~out], relabelled=split.train[out])


def _split(
    name: str, log: Interactions, protocol: Mapping[str, Any], relevant: IntArray | None
) -> Split:
    rules, rule = protocol["filter"], protocol["split"]
    if rules["min_rating"] is not None:
        log = filters.at_least_rating(log, rules["min_rating"])
    log = filters.distinct(log)
    if rules["k_core"] is not None:
        log = filters.k_core(log, rules["k_core"])
    if rules["min_user"] is not None:
        log = filters.min_per_user(log, rules["min_user"])
    if not len(log):
        raise UserError(f"protocol.filter leaves nothing of {name}")
    subset = protocol.get("subset") or {"users": None}
    if subset["users"] is not None:
        here = len(np.unique(log.user))
        if here < subset["users"]:
            LOG.warning(
                "%s has %d users that pass the filter, not %d: all are taken",
                name,
                here,
                subset["users"],
            )
        log = filters.random_users(log, subset["users"], subset["seed"])
    if relevant is None:
        log = filters.renumber(log)
    pairs = np.column_stack([log.user, log.item])
    if rule["kind"] == "leave_one_out":
        held, test = splits.leave_one_out(log)
        train = pairs[~held & ~test]
        valid = pairs[held]
    else:
        random = rule["kind"] == "random"
        test = (
            splits.random_per_user(log, rule["test"], rule["seed"])
            if random
            else splits.chronological_per_user(log, rule["test"], rule["seed"])
        )
        rest = log.take(~test)
        share, seed = protocol["valid"]["share"], protocol["valid"]["seed"]
        rest_pairs = sort_pairs(pairs[~test]) if random else np.column_stack([rest.user, rest.item])
        mask = (
            splits.carve_validation(rest_pairs, share, seed)
            if random
            else splits.chronological_per_user(rest, share, rule["seed"])
        )
        train, valid = rest_pairs[~mask], rest_pairs[mask]
    return Split(
        name,
        log.n_users,
        log.n_items,
        sort_pairs(train),
        sort_pairs(valid),
        sort_pairs(pairs[test]),
        relevant,
    )


def _checked(split: Split) -> Split:
    counts = np.bincount(split.full_train[:, 0], minlength=split.n_users)
    if counts.max(initial=0) >= split.n_items:
        raise UserError(
            f"user {int(counts.argmax())} of {split.name} has interacted with all {split.n_items} items, so there is "
            "nothing to draw as a negative; filter such users or take more items"
        )
    return split


def _read_cache(path: Path, name: str) -> Split | None:
    """Read a parsed split; one that is damaged counts as none."""
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            n_users, n_items = (int(n) for n in arrays["shape"])
            split = Split(
                name, n_users, n_items, *(arrays[part] for part in ("train", "valid", "test"))
            )
            if "negatives" in arrays:
                split = replace(split, negatives=arrays["negatives"])
            if str(arrays["data_hash"]) != split.data_hash:
                raise ValueError("its hash is wrong")
    except DAMAGED as error:
        LOG.warning("%s is damaged (%s); it is made again", path, error)
        return None
    LOG.info("read %s from the cache", name)
    return split


def _write_cache(path: Path, split: Split) -> None:
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    arrays: dict[str, Any] = {part: getattr(split, part) for part in ("train", "valid", "test")}
    if split.negatives is not None:
        arrays["negatives"] = split.negatives
    try:
        with open(temporary, "wb") as file:
            np.savez(
                file,
                shape=np.array([split.n_users, split.n_items]),
                data_hash=np.array(split.data_hash),
                **arrays,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        LOG.warning("%s cannot be written (%s); the next start parses again", path, error)
    finally:
        temporary.unlink(missing_ok=True)
