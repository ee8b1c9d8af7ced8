"""Columns of text or typed values to ids, times and ratings, exactly: ids and times are no floats.

A column is an arrow array. A value that cannot be read raises `BadValue` with its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hapens_bench.data.interactions import Ids, IntArray, Interactions
from hapens_bench.errors import UserError

TEXT = pa.large_string()
WHOLE, DECIMAL = r"^-?\d+$", r"^-?\d+(\.\d{1,9})?$"
DAY = r"^\d{4}-\d{2}-\d{2}"
ISO = DAY + r"([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"
ISO_ZONED = DAY + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)$"
SCALES = (0, 3, 6, 9)  # digits after the point


class BadValue(ValueError):
    """A value that cannot be read: its row from 0, or None where it is the whole column."""

    def __init__(self, row: int | None, reason: str) -> None:
        super().__init__(reason)
        self.row = row


def id_texts(column: pa.Array) -> pa.Array:
    """Return ids as text, exactly as written; whole numbers of any size are ids, floats are not.

    Raises:
        BadValue: for a type that cannot hold ids exactly, or an id that is missing.
    """
    kind = column.type
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    if not (whole or _is_text(kind)):
        raise BadValue(
            None, f"it holds {kind}, but ids are text or whole numbers: store them as one of these"
        )
    _refuse_missing(column, "an id")
    texts = column.cast(TEXT)
    _refuse(pc.equal(texts, ""), "an id is missing")
    _refuse(
        pc.match_substring_regex(texts, r"[\n\r\x00]"),
        "an id has a line break or a null character: is a quotation mark missing?",
    )
    return texts


def times(column: pa.Array) -> tuple[IntArray, int]:
    """Return times as whole numbers in their order, and the digits added behind the point.

    Text holds numbers, or dates and times as in 2024-05-31T18:00:00Z, which become nanoseconds
    since 1970 (-1 stands for that in place of the digits).

    Raises:
        BadValue: for a missing time, one that is neither, or floats.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        raise BadValue(None, f"it holds {kind}, which is not exact: store times as whole numbers")
    _refuse_missing(column, "a time")
    if pa.types.is_integer(kind):
        return _cast(column, pa.int64(), "it does not fit into 64 bits"), 0
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_time(kind):
        column = _checked_cast(column, pa.timestamp("ns"), "it is out of range")
        return column.cast(pa.int64()).to_numpy(zero_copy_only=False), -1
    if not _is_text(kind):
        raise BadValue(None, f"it holds {kind}, but times are whole numbers, dates or text")
    texts = pc.utf8_trim_whitespace(column.cast(TEXT))
    if len(texts) and _matches(texts[:1], DAY)[0].as_py():
        return _dates(texts), -1
    expected = "expected a time: a number, or text such as 2024-05-31T18:00:00"
    _refuse(pc.invert(_matches(texts, DECIMAL)), expected)
    if pc.all(_matches(texts, WHOLE)).as_py() in (True, None):
        return _cast(texts, pa.int64(), "it does not fit into 64 bits"), 0
    exact = _checked_cast(texts, pa.decimal128(38, 9), "it does not fit into 64 bits")
    for scale in SCALES:
        try:
            short = exact.cast(pa.decimal128(38, scale))
        except pa.ArrowInvalid:
            continue
        units = pc.replace_substring(short.cast(TEXT), ".", "")
        return _cast(units, pa.int64(), "it does not fit into 64 bits"), scale
    raise AssertionError("nine digits behind the point are exact")


def _dates(texts: pa.Array) -> IntArray:
    zoned = bool(_matches(texts[:1], ISO_ZONED)[0].as_py())
    _refuse(
        pc.invert(_matches(texts, ISO_ZONED if zoned else ISO)),
        "expected a date or time such as 2024-05-31T18:00:00, in all rows with a time zone or "
        "in none",
    )
    kind = pa.timestamp("ns", "UTC") if zoned else pa.timestamp("ns")
    stamps = _checked_cast(texts, kind, "there is no such time between 1678 and 2261")
    return stamps.cast(pa.int64()).to_numpy(zero_copy_only=False)


def ratings(column: pa.Array) -> NDArray[np.float64]:
    """Return ratings, which are finite numbers.

    Raises:
        BadValue: for anything else.
    """
    kind = column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise BadValue(None, f"it holds {kind}, but ratings are numbers")
    _refuse_missing(column, "a rating")
    if _is_text(kind):
        column = pc.utf8_trim_whitespace(column.cast(TEXT))
    numbers = _cast(column, pa.float64(), "expected a number as its rating")
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise BadValue(int(bad[0]), "expected a number as its rating")
    return numbers


def to_log(
    columns: Mapping[str, pa.Array], place: Callable[[str, int | None], str]
) -> tuple[Interactions, int | None]:
    """Return the log of the columns user and item, with rating and time where they are there.

    Also return the digits of the times, as `times` does. `place` says where a row of a column is.

    Raises:
        UserError: for a value that cannot be read, with its place.
    """
    column, rating, time, digits = "user", None, None, None
    try:
        user, users = dense(id_texts(columns[column]))
        column = "item"
        item, items = dense(id_texts(columns[column]))
        if (column := "rating") in columns:
            rating = ratings(columns[column])
        if (column := "time") in columns:
            time, digits = times(columns[column])
    except BadValue as error:
        raise UserError(f"{place(column, error.row)}: {error}") from None
    log = Interactions(user, item, len(users), len(items), time, rating, users, items)
    return log, digits


def dense(texts: pa.Array) -> tuple[IntArray, Ids]:
    """Number ids from 0 by first appearance; return the number of each row, and all ids in order.

    Shape:
        -> [N], [ids].
    """
    encoded = texts.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers, np.array(encoded.dictionary.to_pylist(), dtype=object)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(texts, pattern)


def _refuse_missing(column: pa.Array, what: str) -> None:
    if column.null_count:
        _refuse(column.is_null(), f"{what} is missing")


def _refuse(bad: pa.Array, reason: str) -> None:
    """Raise for the first row that is marked."""
    first = pc.index(bad, True).as_py()
    if first >= 0:
        raise BadValue(first, reason)


# What pyarrow raises for a value that a cast cannot take.
UNFIT = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError)


def _cast(column: pa.Array, kind: pa.DataType, reason: str) -> NDArray:
    return _checked_cast(column, kind, reason).to_numpy(zero_copy_only=False)


def _checked_cast(column: pa.Array, kind: pa.DataType, reason: str) -> pa.Array:
    try:
        return column.cast(kind)
    except UNFIT:
        first = first_bad(column, lambda part: part.cast(kind))
        raise BadValue(first, reason) from None


def first_bad(column: pa.Array, attempt: Callable[[pa.Array], object]) -> int:
    """Return the first row for which an attempt fails, given that it fails for the whole column."""
    begin, size = 0, len(column)
    while size > 1:
        half = size // 2
        try:
            attempt(column[begin : begin + half])
            begin, size = begin + half, size - half
        except UNFIT:
            size = half
    return begin
