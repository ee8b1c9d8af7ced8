"""Readers of the raw public formats: files in, interactions or published splits out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hapens_bench.data.interactions import IntArray, Interactions
from hapens_bench.data.sources import read_bytes
from hapens_bench.errors import UserError

VERSION = 1  # part of the cache key: raise it when a reader's result changes
Paths = Mapping[str, Path]


@dataclass(frozen=True)
class Published:
    """A split that was published with the data.

    Shape:
        train, test: [n, 2] rows (user, item); valid: the same, or None where there is none.
    """

    train: IntArray
    test: IntArray
    n_users: int
    n_items: int
    valid: IntArray | None = None

    def as_log(self) -> Interactions:
        """Join the parts to one log."""
        pairs = np.concatenate([self.train, self.test] + ([] if self.valid is None else [self.valid]))
        return Interactions(pairs[:, 0], pairs[:, 1], self.n_users, self.n_items)


def movielens(paths: Paths) -> Interactions:
    """Read MovieLens-1M `ratings.dat` (user::item::rating::seconds), plain or inside ml-1m.zip."""
    path = paths["log"]
    content = read_bytes(path)
    if content[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                name = next(n for n in archive.namelist() if n.endswith("ratings.dat"))
                content = archive.read(name)
        except (zipfile.BadZipFile, StopIteration, OSError) as error:
            raise UserError(f"{path} is no archive with a ratings.dat ({error}); fetch it again") from None
    table = _table(path, content.replace(b"::", b","), ",", ["user", "item", "rating", "time"], {"rating"})
    return from_frame(table)


def amazon(paths: Paths) -> Interactions:
    """Read an Amazon 2014 5-core review file: JSON lines with reviewerID, asin, overall, unixReviewTime."""
    path, rows = paths["log"], []
    for number, line in enumerate(read_bytes(path).splitlines(), 1):
        try:
            review = json.loads(line)
            row = (
                review["reviewerID"],
                review["asin"],
                float(review["overall"]),
                int(review["unixReviewTime"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: expected a JSON object with reviewerID, asin, overall and unixReviewTime ({error})"
            ) from None
        rows.append(row)
    return from_frame(pd.DataFrame(rows, columns=["user", "item", "rating", "time"]))


def ncf(paths: Paths) -> Published:
    """Read NCF's `*.train.rating` and `*.test.rating` (user, item, rating, seconds, split by tabs); ids are kept."""
    parts = {}
    for part in ("train", "test"):
        columns = ["user", "item", "rating", "time"]
        table = _table(paths[part], read_bytes(paths[part]), "\t", columns, {"rating"})
        parts[part] = table[["user", "item"]].to_numpy(np.int64)
    return _published(parts["train"], parts["test"])


def ncf_negatives(path: Path) -> tuple[IntArray, IntArray]:
    """Read NCF's `*.test.negative`: a line `(user,item)` and its negatives, split by tabs.

    Shape:
        -> positives [n, 2], negatives [n, K].
    """
    positives, negatives = [], []
    for number, line in enumerate(read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
        head, *rest = line.split("\t")
        try:
            user, item = head.strip("()").split(",")
            positives.append((int(user), int(item)))
            negatives.append([int(j) for j in rest if j])
        except ValueError:
            raise UserError(f"{path}, line {number}: expected (user,item) and whole numbers, split by tabs") from None
        if len(negatives[-1]) != len(negatives[0]):
            raise UserError(
                f"{path}, line {number}: {len(negatives[-1])} negatives where line 1 has {len(negatives[0])}"
            )
    return np.array(positives, dtype=np.int64), np.array(negatives, dtype=np.int64)


def adjacency(paths: Paths) -> Published:
    """Read NGCF's `train.txt` and `test.txt`: a line `user item item ...`; ids are kept, I = largest id + 1."""
    return _published(read_adjacency(paths["train"]), read_adjacency(paths["test"]))


def read_adjacency(path: Path) -> IntArray:
    """Read one adjacency file to pairs [n, 2]."""
    lines = read_bytes(path).splitlines()
    try:
        tokens = [np.array(line.split(), dtype=np.int64) for line in lines]
    except (ValueError, OverflowError):
        number = next(n for n, line in enumerate(lines, 1) if not all(t.isdigit() for t in line.split()))
        raise UserError(f"{path}, line {number}: expected whole numbers `user item item ...`") from None
    pairs = [np.column_stack([np.full(len(t) - 1, t[0]), t[1:]]) for t in tokens if len(t)]
    joined = np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)
    if len(joined) and joined.min() < 0:
        raise UserError(f"{path}: ids start at 0, but there are negative numbers")
    return joined


def user_behavior(paths: Paths) -> Interactions:
    """Read Taobao's `UserBehavior.csv` (user, item, category, behaviour, seconds; no header); every behaviour counts."""
    columns = ["user", "item", "category", "behaviour", "time"]
    path = paths["log"]
    return from_frame(_table(path, read_bytes(path), ",", columns, set(), texts={"behaviour"}))


def tmall(paths: Paths) -> Interactions:
    """Read a Tmall log CSV with a header that names user_id, item_id and time_stamp; every action counts.

    `user_log_format1.csv` (IJCAI-15) has cat_id, seller_id, brand_id and action_type beside them. Times are days.
    """
    path = paths["log"]
    content = read_bytes(path)
    header = [name.strip().lower() for name in content.split(b"\n", 1)[0].decode("utf-8", "replace").split(",")]
    wanted = {"user_id": "user", "item_id": "item", "time_stamp": "time"}
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UserError(f"{path}: the header lacks {', '.join(missing)}")
    body = content.split(b"\n", 1)[1]
    others = {name for name in header if name not in wanted}
    return from_frame(_table(path, body, ",", [wanted.get(n, n) for n in header], set(), texts=others, first_line=2))


def events(paths: Paths) -> Interactions:
    """Read a gathered `events.npz` (user, item, behaviour, time); every behaviour counts; ids are made contiguous."""
    arrays = _npz(paths["log"], ("user", "item", "time"))
    return from_frame(pd.DataFrame({name: arrays[name].astype(np.int64) for name in ("user", "item", "time")}))


def leave_one_out(paths: Paths) -> Published:
    """Read a gathered leave-one-out split: `ml1m_srns.npz`, or `pinterest_37501.npz` (only users with train data are kept)."""
    path = paths["log"]
    arrays = _npz(path, ("shape",))
    n_users, n_items = (int(n) for n in arrays["shape"])
    if "train" in arrays:
        train, valid, test = (arrays[part].astype(np.int64) for part in ("train", "valid", "test"))
    else:
        users = np.arange(n_users)
        train = np.column_stack([arrays["train_user"], arrays["train_item"]]).astype(np.int64)
        valid = np.column_stack([users, arrays["valid_item_all55187"][:n_users]]).astype(np.int64)
        test = np.column_stack([users, arrays["test_item_all55187"][:n_users]]).astype(np.int64)
    return Published(train, test, n_users, n_items, valid)


READERS: dict[str, Callable[[Paths], Interactions | Published]] = {
    f.__name__: f for f in (movielens, amazon, ncf, adjacency, user_behavior, tmall, events, leave_one_out)
}


def from_frame(table: pd.DataFrame) -> Interactions:
    """Number users and items by first appearance and keep times and ratings."""
    user, users = pd.factorize(table["user"])
    item, items = pd.factorize(table["item"])
    return Interactions(
        user.astype(np.int64),
        item.astype(np.int64),
        len(users),
        len(items),
        table["time"].to_numpy(np.int64) if "time" in table else None,
        table["rating"].to_numpy(np.float64) if "rating" in table else None,
    )


def _published(train: IntArray, test: IntArray) -> Published:
    both = np.concatenate([train, test])
    return Published(train, test, int(both[:, 0].max()) + 1, int(both[:, 1].max()) + 1)


def _table(
    path: Path,
    content: bytes,
    separator: str,
    columns: list[str],
    floats: set[str],
    texts: frozenset[str] | set[str] = frozenset(),
    first_line: int = 1,
) -> pd.DataFrame:
    """Parse lines of separated values; name the first line that is not as it should be.

    Raises:
        UserError: with file and line.
    """
    kinds = {c: "str" if c in texts else "float64" if c in floats else "int64" for c in columns}
    plain = dict(header=None, names=columns, index_col=False, sep=separator)
    try:
        return pd.read_csv(io.BytesIO(content), dtype=kinds, on_bad_lines="error", **plain)  # type: ignore[call-overload]
    except (ValueError, OverflowError):
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), first_line):
            fields = line.split(separator)
            if len(fields) != len(columns) or not all(_is(f, kinds[c]) for f, c in zip(fields, columns, strict=True)):
                shown = ", ".join(f"{c} ({kinds[c]})" for c in columns)
                raise UserError(f"{path}, line {number}: expected {shown} but found {line[:60]!r}") from None
        raise UserError(f"{path} cannot be read as a table of {', '.join(columns)}") from None


def _is(field: str, kind: str) -> bool:
    try:
        {"int64": int, "float64": float, "str": str}[kind](field)
    except ValueError:
        return False
    return True


def _npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read plain arrays; pickles are refused."""
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} is no readable npz file of plain arrays ({error})") from None
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks the arrays {', '.join(missing)}")
    return arrays
