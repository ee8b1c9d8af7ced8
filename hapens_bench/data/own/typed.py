"""Files with names and types: parquet, JSON lines, and arrow tables of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from hapens_bench.data.exact import TEXT
from hapens_bench.data.json_lines import parse, read_json_lines
from hapens_bench.data.own import guess
from hapens_bench.data.own.table import Table, chosen
from hapens_bench.errors import UserError

SAMPLE = 200  # rows that guesses are made from
INDEX = "__index_level_"  # columns that pandas writes for its index
KINDS = {"user": "id", "item": "id", "rating": "rating", "time": "time"}


def read_parquet(path: Path, content: bytes, options: Mapping[str, Any]) -> Table:
    """Read a parquet file.

    Raises:
        UserError: when it is damaged or lacks a column.
    """
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        names = [name for name in file.schema_arrow.names if not name.startswith(INDEX)]
        first = next(file.iter_batches(SAMPLE, columns=names), None)
        rows = [list(row.values()) for row in first.to_pylist()] if first is not None else []
        taken = take(path, names, rows, options["columns"])
        table = file.read(columns=[names[at] for at in taken.values()])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a readable parquet file ({reason})") from None
    return from_arrow(path, table, names, taken, "parquet")


def take(
    path: object, names: Sequence[str], rows: Sequence[Sequence[Any]], columns: Mapping[str, Any]
) -> dict[str, int]:
    """Return the places of the columns to take, told by their names and the first rows.

    Raises:
        UserError: when a name occurs twice, there are no rows, or as `guess.take`.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path} has two columns {twice!r}")
    if not rows:
        raise UserError(f"{path} has no rows")
    return guess.take(path, names, rows, columns)


def from_arrow(
    path: object, table: pa.Table, names: list[str], taken: Mapping[str, int], form: str
) -> Table:
    """Return the columns taken of an arrow table."""
    arrays = {role: _plain(table.column(names[at])) for role, at in taken.items()}
    return Table(
        arrays,
        {role: names[at] for role, at in taken.items()},
        lambda row: f"{path}, row {row}",
        chosen(form, taken, names),
        f"{form}; {guess.words_of(taken, names)}",
    )


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, without a dictionary; all texts have the same type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(TEXT)
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def read_json(path: Path, content: bytes, options: Mapping[str, Any]) -> Table:
    """Read JSON lines; the first object names the columns.

    Raises:
        UserError: with the line.
    """
    number, line = next(
        (number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()
    )
    first = parse(path, number, line)
    names = list(first)
    if not names:
        raise UserError(f"{path}, line {number}: the object has no fields")
    taken = guess.take(path, names, [list(first.values())], options["columns"])
    fields = {role: names[at] for role, at in taken.items()}
    columns, lines = read_json_lines(path, content, fields, KINDS)
    return Table(
        {role: pa.array(values, TEXT) for role, values in columns.items()},
        fields,
        lambda row: f"{path}, line {lines[row]}",
        chosen("json", taken, names),
        f"JSON lines; {guess.words_of(taken, names)}",
    )
