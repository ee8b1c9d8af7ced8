"""What the readers share: tables of separated values and npz archives, with precise errors."""

from __future__ import annotations

import csv
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hapens_bench.data.interactions import IntArray
from hapens_bench.data.sources import read_bytes
from hapens_bench.errors import UserError

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
    """Parse lines of separated values; an error names the first bad line.

    Raises:
        UserError: with file and line.
    """
    kinds = {
        c: "category" if c in texts else "float64" if c in floats else "int64" for c in columns
    }
    try:
        # An inf in place of an integer is refused, without a warning first.
        with np.errstate(invalid="ignore"):
            table = pd.read_csv(
                io.BytesIO(content),
                sep=separator,
                header=None,
                names=[*columns, "beyond"],  # takes a surplus field, so that pandas does not warn
                dtype={**kinds, "beyond": "category"},
                index_col=False,
                keep_default_na=False,
                quoting=csv.QUOTE_NONE,
            )
        if content.count(separator.encode()) != len(table) * (len(columns) - 1):
            raise ValueError("a row has too few or too many fields")
        if not np.isfinite(table[list(floats)].to_numpy()).all():
            raise ValueError("a number is missing")
        return table[columns]
    except (ValueError, OverflowError):
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), first_line):
            fields = line.split(separator)
            if not line:
                continue
            if len(fields) != len(columns) or not all(
                _is(f, kinds[c]) for f, c in zip(fields, columns, strict=True)
            ):
                words = {"int64": "whole number", "float64": "number", "category": "text"}
                shown = ", ".join(f"{c} ({words[kinds[c]]})" for c in columns)
                raise UserError(
                    f"{path}, line {number}: expected {shown} but found {line[:60]!r}"
                ) from None
        raise UserError(f"{path} cannot be read as a table of {', '.join(columns)}") from None


def _is(field: str, kind: str) -> bool:
    try:
        return kind == "category" or (
            is_whole(field.lstrip(" -")) if kind == "int64" else math.isfinite(float(field))
        )
    except ValueError:
        return False


def is_whole(token: str | bytes) -> bool:
    """Return whether a token is a whole number from 0 that fits into 64 bits."""
    return token.isdigit() and int(token) < 2**63


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
    return array.astype(np.int64)
