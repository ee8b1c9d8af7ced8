"""What the readers share: tables of separated values and npz archives, with precise errors."""

from __future__ import annotations

import csv as python_csv
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from hapens_bench.data.interactions import IntArray
from hapens_bench.data.sources import read_bytes
from hapens_bench.errors import UserError

python_csv.field_size_limit(2**31 - 1)  # reviews are long
HEXADECIMAL = re.compile(rb"0[xX]")
DAMAGED = (  # what zipfile and numpy can raise for archives with wrong bytes
    ValueError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def read_table(
    path: Path,
    content: bytes,
    separator: str,
    columns: list[str],
    floats: set[str],
    texts: frozenset[str] | set[str] = frozenset(),
    first_line: int = 1,
) -> pd.DataFrame:
    """Return the columns of numbers in lines of separated values; errors name the first bad line.

    Whole numbers are never read as floats. Empty lines are skipped, and fields may be quoted.

    Raises:
        UserError: with file and line.
    """
    kinds = {c: "text" if c in texts else "number" if c in floats else "whole" for c in columns}
    arrow = {"text": pa.binary(), "number": pa.float64(), "whole": pa.int64()}
    content = without_blank_end(content)
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(column_names=columns),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={c: arrow[kind] for c, kind in kinds.items()},
                include_columns=[c for c, kind in kinds.items() if kind != "text"],
                null_values=[],
            ),
        ).to_pandas()
        if not len(table) or not np.isfinite(table[list(floats)].to_numpy()).all():
            raise ValueError("a number is missing")
        if HEXADECIMAL.search(content):  # which arrow takes for a number
            _refuse_bad_line(path, content, separator, kinds, first_line)
        return table
    except (ValueError, pa.ArrowException):
        _refuse_bad_line(path, content, separator, kinds, first_line)
        raise UserError(f"{path} cannot be read as a table of {', '.join(columns)}") from None


def _refuse_bad_line(
    path: Path, content: bytes, separator: str, kinds: Mapping[str, str], first_line: int
) -> None:
    """Raise for the first line that is not of these kinds.

    Raises:
        UserError: with file and line.
    """
    for number, fields in records(path, content, separator, first_line):
        if len(fields) != len(kinds) or not all(
            _is(field, kind) for field, kind in zip(fields, kinds.values(), strict=True)
        ):
            words = {"whole": "whole number", "number": "number", "text": "text"}
            shown = ", ".join(f"{c} ({words[kind]})" for c, kind in kinds.items())
            raise UserError(
                f"{path}, line {number}: expected {shown} but found {separator.join(fields)[:60]!r}"
            )


def records(
    path: Path, content: bytes, separator: str, first_line: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the fields of each record, slowly; empty lines are skipped.

    Raises:
        UserError: when a record cannot be read.
    """
    reader = python_csv.reader(
        io.StringIO(content.decode("utf-8", "replace"), newline=""), delimiter=separator
    )
    begin = first_line
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = first_line + reader.line_num
    except python_csv.Error as error:
        raise UserError(f"{path}, line {begin}: {error}") from None


def without_blank_end(content: bytes) -> bytes:
    """Return the content without the blank lines at its end; a tab may be a row of empty fields."""
    content = content.rstrip(b"\r\n")
    while (at := content.rfind(b"\n")) >= 0 and not content[at:].strip(b" \r\n"):
        content = content[:at].rstrip(b"\r\n")
    return content


def _is(field: str, kind: str) -> bool:
    try:
        return kind == "text" or (
            is_whole(field.strip(" ").removeprefix("-"))
            if kind == "whole"
            else "_" not in field and math.isfinite(float(field))
        )
    except ValueError:
        return False


def is_whole(token: str | bytes) -> bool:
    """Return whether a token is a whole number from 0 that fits into 64 bits."""
    return token.isascii() and token.isdigit() and len(token) < 40 and int(token) < 2**63


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the plain arrays of a file, which must include these; pickles are refused.

    Raises:
        UserError: when it is damaged or one is missing.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGED as error:
        raise UserError(f"{path} is not a readable npz file of plain arrays ({error})") from None
    require_arrays(path, arrays, names)
    return arrays


def require_arrays(path: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> None:
    """Raise a UserError when an array is missing."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks the arrays {', '.join(missing)}")


def whole_numbers(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]
) -> IntArray:
    """Return an array of whole numbers; None in `shape` stands for any length.

    Raises:
        UserError: when it holds anything else, or has another shape.
    """
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        want in (None, n) for want, n in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in "iu" or not fits:
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        raise UserError(
            f"{path}: {name} holds {array.dtype} {list(array.shape)}, "
            f"but {wanted} whole numbers were expected"
        )
    if array.dtype == np.uint64 and array.max(initial=0) >= 2**63:
        raise UserError(f"{path}: {name} holds {array.max()}, which does not fit into 64 bits")
    return array.astype(np.int64)


def plain_or_zipped(path: Path, name: str) -> bytes:
    """Return a file or, of a zip archive, the file in it whose path ends with a name.

    Raises:
        UserError: when the archive has none, or is damaged.
    """
    content = read_bytes(path)
    if content[:2] != b"PK":
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(next((n for n in archive.namelist() if n.endswith(name)), name))
    except DAMAGED as error:
        raise UserError(
            f"{path} is not an archive with a {name} ({error}); remove it and fetch it again"
        ) from None
