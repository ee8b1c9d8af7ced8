"""From the section of a data set of one's own to its log, or to the split that its files are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.config.keys import Key, problems
from hapens_bench.config.own_files import PARTS, digest, files_of
from hapens_bench.data.exact import to_log
from hapens_bench.data.interactions import Interactions
from hapens_bench.data.own import guess
from hapens_bench.data.own.packed import read_unpacked
from hapens_bench.data.own.table import COLUMNS, Table, joined
from hapens_bench.data.own.text import read_adjacency, read_delimited, sample_lines
from hapens_bench.data.own.typed import read_json, read_parquet
from hapens_bench.data.published import Published, one_a_user
from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")
KEYS = {
    "sha256": Key(dict, optional=True),
    "format": Key(str, choices=("auto", "delimited", "adjacency", "json", "parquet")),
    "delimiter": Key(str),
    "header": Key(bool, choices=("auto",)),
    "columns": Key(dict),
}


@dataclass(frozen=True)
class Own:
    """What was read: a log or a split, the options without guesses, and what is to be told.

    `rows` counts the rows of the files, `pairs` the pairs of a user and an item among them.
    """

    read: Interactions | Published
    options: Mapping[str, Any]
    said: list[str]
    rows: int
    pairs: int


def check_own(dataset: Mapping[str, Any]) -> None:
    """Check the keys of a data set of one's own.

    Raises:
        UserError: with a sentence for each key that is unknown or takes another value.
    """
    others = {key: value for key, value in dataset.items() if key not in (*PARTS, "paper")}
    sentences = list(problems("dataset", KEYS, others))
    columns = dataset.get("columns")
    for key, value in columns.items() if isinstance(columns, Mapping) else ():
        if key not in COLUMNS:
            sentences.append(
                f"there is no key dataset.columns.{key}; it takes {', '.join(COLUMNS)}"
            )
        elif isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
            sentences.append(f"dataset.columns.{key} is {value!r}, but it takes a name or a place")
    if dataset.get("delimiter") == "":
        sentences.append("dataset.delimiter is empty")
    named = files_of(dataset)
    for part, sums in (dataset["sha256"] or {}).items() if not sentences else ():
        if not isinstance(sums, list) or len(sums) != len(named.get(part, [])):
            sentences.append(
                f"dataset.sha256.{part} is {sums!r}, but it takes a list of one for each file"
            )
    if not named:
        sentences.append(
            "dataset.path is null; name a file, as in dataset.path=ratings.csv, "
            "or the files of a split, dataset.train and dataset.test"
        )
    elif "path" in named and len(named) > 1:
        sentences.append(
            "dataset.path is set beside dataset.train, valid or test; take one of both"
        )
    elif "path" not in named and not {"train", "test"} <= named.keys():
        sentences.append("a split in files needs dataset.train and dataset.test")
    if sentences:
        raise UserError("; ".join(sentences))


def read_own(dataset: Mapping[str, Any]) -> Own:
    """Read the files of a data set; the first one decides how all of them are read.

    Raises:
        UserError: when a file is missing, has changed, or cannot be read, with file and line.
    """
    check_own(dataset)
    options = {key: dataset[key] for key in ("format", "delimiter", "header")}
    taken = COLUMNS if "path" in files_of(dataset) else COLUMNS[:2]  # of a split, pairs alone
    options["columns"] = {role: dataset["columns"].get(role) for role in taken}
    tables: dict[str, list[Table]] = {}
    said = []
    for part, paths in files_of(dataset).items():
        expected = (dataset["sha256"] or {}).get(part) or [None] * len(paths)
        for path, sha256 in zip(paths, expected, strict=True):
            table = _read(Path(path), sha256, options)
            said.append(f"{path}: {table.said}")
            options = dict(table.options)
            tables.setdefault(part, []).append(table)
    together = [table for named in tables.values() for table in named]
    log, digits = to_log(*joined(together))
    keys = log.user * log.n_items + log.item
    pairs = len(np.unique(keys))
    if log.time is not None:
        said.append(f"times are {_span(log, digits)}")
    if pairs < len(log):
        said.append(
            f"{len(log) - pairs:,} of {len(log):,} rows repeat a pair of user and item; "
            "each pair counts once, at its earliest"
        )
    lengths = {part: sum(map(len, named)) for part, named in tables.items()}
    read = log if "path" in tables else _split(log, lengths)
    return Own(read, options, said, len(log), pairs)


def told(own: Own) -> Interactions | Published:
    """Return what was read, after telling how."""
    for sentence in own.said:
        LOG.warning("%s", sentence)
    return own.read


def one_each(dataset: Mapping[str, Any], read: Published) -> None:
    """Raise for a split that leaves out several items of a user.

    Raises:
        UserError: naming file and user.
    """
    names = read.user_ids
    assert names is not None, "own data keep their ids"
    for part, pairs in (("valid", read.valid), ("test", read.test)):
        if pairs is not None:
            one_a_user(Path(files_of(dataset)[part][0]), pairs, part, lambda user: names[user])


def _read(path: Path, sha256: str | None, options: Mapping[str, Any]) -> Table:
    content = read_unpacked(path)
    if sha256 is not None and digest(str(path)) != sha256:
        raise UserError(
            f"{path} has sha256 {digest(str(path))}, but {sha256} was expected: it has changed; "
            "hapens data add --force takes it as it is now"
        )
    form = options["format"]
    if form == "auto":
        form = _format_of(path, content, options)
    if form == "parquet":
        return read_parquet(path, content, options)
    if form == "json":
        return read_json(path, content, options)
    if form == "adjacency":
        return read_adjacency(path, content)
    return read_delimited(path, content, options)


def _format_of(path: Path, content: bytes, options: Mapping[str, Any]) -> str:
    if content.startswith(b"PAR1"):
        return "parquet"
    begin = content[:1000].lstrip()[:1]
    if begin == b"{":
        return "json"
    if begin == b"[":
        raise UserError(f"{path} is one JSON list; store it as JSON lines, one object a line")
    sample = sample_lines(path, content)
    adjacent = options["delimiter"] == "auto" and guess.delimiter_of(sample) is None
    return "adjacency" if adjacent else "delimited"


def _split(log: Interactions, lengths: Mapping[str, int]) -> Published:
    pairs, begin, parts = np.column_stack([log.user, log.item]), 0, {}
    for part, length in lengths.items():
        parts[part] = pairs[begin : begin + length]
        begin += length
    return Published(
        parts["train"],
        parts["test"],
        log.n_users,
        log.n_items,
        parts.get("valid"),
        user_ids=log.user_ids,
        item_ids=log.item_ids,
    )


def _span(log: Interactions, digits: int | None) -> str:
    """Return in words the unit of the times, as far as their size tells it, and their range."""
    assert log.time is not None and digits is not None
    first, last = int(log.time.min()), int(log.time.max())
    scale = 10 ** (9 if digits < 0 else digits)
    units = {"seconds": 11, "milliseconds": 14, "microseconds": 17, "nanoseconds": 20}
    unit, exponent = next(
        ((unit, 3 * n) for n, (unit, size) in enumerate(units.items()) if last // scale < 10**size),
        ("nanoseconds", 9),
    )
    if not 10**8 * 10**exponent <= first // scale:
        return f"numbers from {first / scale:g} to {last / scale:g}"
    dates = [
        np.datetime_as_string(np.datetime64(t // (scale * 10**exponent), "s"), unit="D")
        for t in (first, last)
    ]
    kind = "dates" if digits < 0 else unit
    return f"{kind} from {dates[0]} to {dates[1]}"
