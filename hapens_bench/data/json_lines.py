"""JSON lines: one object a line, of which some fields are taken as text, exactly as written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hapens_bench.errors import UserError

TAKES = {
    "id": "text or a whole number, the same in all lines",
    "time": "a number or text",
    "whole": "a whole number",
    "rating": "a number",
}


class Decimal(str):
    """A number with a point or an exponent, as written: it is never rounded."""


def read_json_lines(
    path: Path, content: bytes, fields: Mapping[str, str], kinds: Mapping[str, str]
) -> tuple[dict[str, list[str]], list[int]]:
    """Return the texts of some fields of every object, and the line of each; blank lines are none.

    `fields` has the name in the file of each column, `kinds` the kind of its values (see `TAKES`).

    Raises:
        UserError: with the line, for what is no object, or lacks a field, or has another value.
    """
    columns: dict[str, list[str]] = {column: [] for column in fields}
    types: dict[str, type] = {}
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        found = parse(path, number, line)
        for column, field in fields.items():
            value, kind = found.get(field), kinds[column]
            if field not in found or not _fits(value, kind, types.setdefault(column, type(value))):
                said = f"found {_shown(value)}" if field in found else "there is none"
                raise UserError(
                    f"{path}, line {number}: expected a JSON object with "
                    f"{', '.join(fields.values())}, where {field} is {TAKES[kind]}, but {said}"
                )
            columns[column].append(str(value))
        lines.append(number)
    return columns, lines


def parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the object in a line; numbers with a point stay texts.

    Raises:
        UserError: when there is none.
    """
    try:
        found = json.loads(line.decode(), parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path}, line {number}: expected a JSON object, but found {line[:60]!r} ({reason})"
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"{path}, line {number}: expected a JSON object, but found {_shown(found)}")
    return found


def _fits(value: Any, kind: str, first: type) -> bool:
    """Return whether a value is of the kind that its column takes."""
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return False  # half a character, which no file can hold
    if kind == "id":  # 5 and "5" are not the same id
        return type(value) in (str, int) and type(value) is first
    if kind == "whole":
        return type(value) is int
    if kind == "rating":
        return type(value) in (int, Decimal)
    return type(value) in (str, int, Decimal)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _shown(value: Any) -> str:
    return json.dumps(value)[:60] if not isinstance(value, Decimal) else str(value)[:60]
