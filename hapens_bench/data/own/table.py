"""What every format is read into: columns, and where a row of them stands in the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hapens_bench.errors import UserError

COLUMNS = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class Table:
    """The columns taken from a file, by what they are: user, item, and rating and time if taken.

    `names` has what each is called in the file, `place` says where a row stands, as in
    "ratings.csv, line 7". `options` are the reading options without any guess, `said` is how the
    file was read, in words.
    """

    columns: Mapping[str, pa.Array]
    names: Mapping[str, str]
    place: Callable[[int], str]
    options: Mapping[str, Any]
    said: str

    def __len__(self) -> int:
        return len(self.columns["user"])


def chosen(
    form: str, taken: Mapping[str, int], names: Sequence[str] | None, **more: Any
) -> dict[str, Any]:
    """Return the reading options that take these columns again, without a guess."""
    columns = {role: None for role in COLUMNS} | {
        role: names[at] if names is not None else at for role, at in taken.items()
    }
    return {"format": form, "delimiter": "auto", "header": "auto", **more, "columns": columns}


def joined(tables: Sequence[Table]) -> tuple[dict[str, pa.Array], Callable[[str, int | None], str]]:
    """Return the columns of tables one after another, and what says where a row of a column stands.

    Raises:
        UserError: when the tables have other columns, or hold another kind of values.
    """
    first = tables[0]
    for other in tables[1:]:
        if other.columns.keys() != first.columns.keys():
            raise UserError(
                f"{first.place(0)} begins a table of {', '.join(first.columns)}, "
                f"but {other.place(0)} one of {', '.join(other.columns)}"
            )
    columns = {}
    for name in first.columns:
        arrays = [table.columns[name] for table in tables]
        kinds = list(dict.fromkeys(str(array.type) for array in arrays))
        if len(kinds) > 1:
            raise UserError(
                f"the column {first.names[name]} holds {' in one file and '.join(kinds)} in another"
            )
        columns[name] = pa.concat_arrays(arrays)

    def place(column: str, row: int | None) -> str:
        if row is None:
            return f"{first.place(0).partition(', ')[0]}, {first.names[column]}"
        for table in tables:
            if row < len(table):
                return f"{table.place(row)}, {table.names[column]}"
            row -= len(table)
        raise IndexError(row)

    return columns, place
