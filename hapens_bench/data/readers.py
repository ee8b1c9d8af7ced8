"""Readers of the raw public formats: files in, interactions or published splits out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from hapens_bench.data.exact import TEXT, to_log
from hapens_bench.data.interactions import IntArray, Interactions
from hapens_bench.data.json_lines import read_json_lines
from hapens_bench.data.parsing import (
    is_whole,
    plain_or_zipped,
    read_npz,
    read_table,
    records,
    require_arrays,
    whole_numbers,
)
from hapens_bench.data.published import Published, one_a_user, published, refuse_gaps
from hapens_bench.data.sources import read_bytes
from hapens_bench.data.unpickling import read_lists
from hapens_bench.errors import UserError

VERSION = 4  # part of the cache key: raise it when the result of the same files changes
Paths = Mapping[str, Path]


def movielens(paths: Paths) -> Interactions:
    """Read MovieLens-1M `ratings.dat` (user::item::rating::seconds), plain or inside ml-1m.zip."""
    path = paths["log"]
    content = plain_or_zipped(path, "ratings.dat")
    table = read_table(
        path, content.replace(b"::", b","), ",", ["user", "item", "rating", "time"], {"rating"}
    )
    return from_frame(table)


def amazon(paths: Paths) -> Interactions:
    """Read an Amazon 2014 5-core review file.

    It has JSON lines with reviewerID, asin, overall and unixReviewTime.
    """
    path = paths["log"]
    fields = {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"}
    kinds = {"user": "id", "item": "id", "rating": "rating", "time": "whole"}
    texts, lines = read_json_lines(path, read_bytes(path), fields, kinds)
    log, _ = to_log(
        {column: pa.array(values, TEXT) for column, values in texts.items()},
        lambda column, row: f"{path}, line {lines[row or 0]}, {fields[column]}",
    )
    return log


def ncf(paths: Paths) -> Published:
    """Read NCF's `*.train.rating` and `*.test.rating`; ids are kept.

    They hold user, item, rating and seconds, separated by tabs.
    """
    parts = {}
    for part in ("train", "test"):
        columns = ["user", "item", "rating", "time"]
        table = read_table(paths[part], read_bytes(paths[part]), "\t", columns, {"rating"})
        parts[part] = table[["user", "item"]].to_numpy(np.int64)
        if parts[part].min() < 0:
            raise UserError(f"{paths[part]}: ids start at 0, but there are negative numbers")
    one_a_user(paths["test"], parts["test"], "test")
    return published(paths, parts["train"], parts["test"])


def adjacency(paths: Paths) -> Published:
    """Read NGCF's `train.txt` and `test.txt`, lines `user item item ...`; ids are kept."""
    return published(paths, read_adjacency(paths["train"]), read_adjacency(paths["test"]))


def read_adjacency(path: Path) -> IntArray:
    """Return the pairs of an adjacency file, [n, 2]."""
    content = read_bytes(path)
    lines = content.splitlines()
    try:
        if content.translate(None, b"0123456789 \t\r\n"):  # numpy reads 1_2 as 12
            raise ValueError("there are other characters than digits")
        tokens = [np.array(line.split(), dtype=np.int64) for line in lines]
    except (ValueError, OverflowError):
        number = next(
            n for n, line in enumerate(lines, 1) if not all(is_whole(t) for t in line.split())
        )
        raise UserError(
            f"{path}, line {number}: expected whole numbers from 0, `user item item ...`"
        ) from None
    pairs = [np.column_stack([np.full(len(t) - 1, t[0]), t[1:]]) for t in tokens if len(t)]
    joined = np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)
    if not len(joined):
        raise UserError(f"{path} holds no pair of a user and an item")
    return joined


def consumed(paths: Paths) -> Published:
    """Read the `*_user_consumed.pkl` of SDNS's authors, user -> items; ids are kept."""
    train, valid, test = (read_lists(paths[part]) for part in ("train", "valid", "test"))
    return published(paths, train, test, valid)


def irbenchmark(paths: Paths) -> Published:
    """Read IR-Benchmark's `train.tsv` and `test.tsv`, plain or inside proc.zip; ids are kept.

    They hold user_procid and item_procid, separated by a tab, under a header with these names.
    """
    parts = {}
    for part in ("train", "test"):
        path = paths[part]
        head, _, body = plain_or_zipped(path, f"{part}.tsv").partition(b"\n")
        if head.split() != [b"user_procid", b"item_procid"] or not body.strip():
            raise UserError(f"{path}: expected rows under the header user_procid, item_procid")
        table = read_table(path, body, "\t", ["user", "item"], set(), first_line=2)
        parts[part] = np.array(table, dtype=np.int64, order="C")
        if parts[part].min() < 0:
            raise UserError(f"{path}: ids start at 0, but there are negative numbers")
    return published(paths, parts["train"], parts["test"])


def user_behavior(paths: Paths) -> Interactions:
    """Read Taobao's `UserBehavior.csv`; every behaviour counts.

    It holds user, item, category, behaviour and seconds, without a header.
    """
    columns = ["user", "item", "category", "behaviour", "time"]
    path = paths["log"]
    return from_frame(read_table(path, read_bytes(path), ",", columns, set(), texts={"behaviour"}))


def tmall(paths: Paths) -> Interactions:
    """Read a Tmall log CSV with user_id, item_id and time_stamp in its header; every action counts.

    `user_log_format1.csv` (IJCAI-15) also has cat_id, seller_id, brand_id and action_type. Times
    are days.
    """
    path = paths["log"]
    head, _, body = read_bytes(path).partition(b"\n")
    header = [name.strip().lower() for name in next(records(path, head, ","), (1, []))[1]]
    wanted = {"user_id": "user", "item_id": "item", "time_stamp": "time"}
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UserError(f"{path}: the header lacks {', '.join(missing)}")
    if not body.strip():
        raise UserError(f"{path} has a header, but no rows")
    others = {name for name in header if name not in wanted}
    return from_frame(
        read_table(
            path, body, ",", [wanted.get(n, n) for n in header], set(), texts=others, first_line=2
        )
    )


def events(paths: Paths) -> Interactions:
    """Read `events.npz` (user, item, behaviour, time); every behaviour counts; ids change."""
    arrays = read_npz(paths["log"], ("user", "item", "time"))
    n = arrays["user"].size
    columns = {
        name: whole_numbers(paths["log"], arrays, name, (n,)) for name in ("user", "item", "time")
    }
    return from_frame(pd.DataFrame(columns))


def in_order(paths: Paths) -> Interactions:
    """Read `ml1m_order.npz` (user, item), rows in order of time; their places are the times."""
    arrays = read_npz(paths["log"], ("user", "item"))
    n = arrays["user"].size
    columns = {name: whole_numbers(paths["log"], arrays, name, (n,)) for name in ("user", "item")}
    return from_frame(pd.DataFrame(columns | {"time": np.arange(n)}))


def leave_one_out(paths: Paths) -> Published:
    """Read a leave-one-out split: `ml1m_srns.npz`, with its negatives, or `pinterest_37501.npz`.

    Only users with train data are kept.
    """
    path = paths["log"]
    arrays = read_npz(path, ("shape",))
    gathered = ("train_user", "train_item", "valid_item_all55187", "test_item_all55187")
    require_arrays(path, arrays, ("train", "valid", "test") if "train" in arrays else gathered)
    n_users, n_items = whole_numbers(path, arrays, "shape", (2,)).tolist()
    if "train" in arrays:
        train, valid, test = (
            whole_numbers(path, arrays, part, (None, 2)) for part in ("train", "valid", "test")
        )
    else:
        n = arrays["train_user"].size
        train = np.column_stack(
            [whole_numbers(path, arrays, name, (n,)) for name in ("train_user", "train_item")]
        )
        items_of = (
            whole_numbers(path, arrays, f"{part}_item_all55187", (None,))
            for part in ("valid", "test")
        )
        valid, test = (
            np.column_stack([np.arange(len(items)), items])[: max(n_users, 0)] for items in items_of
        )
    negatives = (
        whole_numbers(path, arrays, "test_neg", (n_users, None)) if "test_neg" in arrays else None
    )
    pairs = np.concatenate([train, valid, test])
    items = pairs[:, 1] if negatives is None else np.concatenate([pairs[:, 1], negatives.ravel()])
    for what, ids, count in (("user", pairs[:, 0], n_users), ("item", items, n_items)):
        if len(ids) == 0 or ids.min() < 0 or ids.max() >= count:
            raise UserError(
                f"{path}: there are {count} {what}s by its shape, "
                f"but its {what}s are not numbered 0 to {count - 1}"
            )
    refuse_gaps(path, pairs, n_users, n_items)
    for part, held in (("validation", valid), ("test", test)):
        one_a_user(path, held, part)
    return Published(train, test, n_users, n_items, valid, negatives)


READERS: dict[str, Callable[[Paths], Interactions | Published]] = {
    f.__name__: f
    for f in (
        movielens,
        amazon,
        ncf,
        adjacency,
        consumed,
        irbenchmark,
        user_behavior,
        tmall,
        events,
        in_order,
        leave_one_out,
    )
}
KINDS = {  # kind of split in the files of a reader; the other readers return logs
    "adjacency": "random",
    "consumed": "chronological",
    "irbenchmark": "random",
    "leave_one_out": "leave_one_out",
    "ncf": "leave_one_out",
}


def reader_of(name: str) -> Callable[[Paths], Interactions | Published]:
    """Return a reader by its name, or a function elsewhere by its dotted name.

    Raises:
        UserError: when there is none.
    """
    if name in READERS:
        return READERS[name]
    module, _, function = str(name).rpartition(".")
    reason = "no such reader"
    try:
        found = getattr(importlib.import_module(module), function)
        if callable(found):
            return found
        reason = "it is no function"
    except (ImportError, AttributeError, ValueError) as error:
        reason = str(error) if module else reason
    raise UserError(
        f"the reader {name!r} cannot be taken ({reason}); choose one of {', '.join(READERS)}, "
        "or name a function as in mypackage.read"
    )


def from_frame(table: pd.DataFrame) -> Interactions:
    """Return the log of a table, with users and items numbered by first appearance."""
    user, users = pd.factorize(table["user"])
    item, items = pd.factorize(table["item"])
    return Interactions(
        user.astype(np.int64),
        item.astype(np.int64),
        len(users),
        len(items),
        table["time"].to_numpy(np.int64) if "time" in table else None,
        table["rating"].to_numpy(np.float64) if "rating" in table else None,
        *(np.array([str(x) for x in ids.tolist()], dtype=object) for ids in (users, items)),
    )
