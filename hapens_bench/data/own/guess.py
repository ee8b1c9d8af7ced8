"""Guesses about a table: its delimiter, its header, and which column is what."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hapens_bench.data.own.table import COLUMNS
from hapens_bench.errors import UserError

DELIMITERS = ("::", "\t", ",", ";", "|", " ")
WORDS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "bar": "|", "\\t": "\t"}
# Names of columns without signs and capitals; where a table has several of them, the first counts.
KNOWN = {
    "user": "user userid reviewerid reviewer customerid customer memberid visitorid personid "
    "accountid readerid listenerid username uid u",
    "item": "item itemid asin parentasin movieid movie productid product businessid bookid isbn "
    "songid trackid artistid articleid newsid gameid appid recipeid poiid venueid locationid "
    "gmapid sku iid i",
    "rating": "rating ratings overall score stars star ratingvalue reviewrating rate r",
    "time": "timestamp time unixreviewtime unixtime ts timestampms datetime date createdat "
    "eventtime reviewtime timestamps t",
}
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
TIME = re.compile(r"\d{9,}(\.\d+)?|\d{4}-\d\d-\d\d([T ].*)?")
LARGEST_RATING = 100  # of a column without a name that is taken for a rating


def fields(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the fields of lines; quotes count, except beside delimiters of several characters."""
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    if delimiter == " ":
        return [line.split() for line in lines]
    return [row for row in csv.reader(lines, delimiter=delimiter) if row]


def delimiter_of(sample: Sequence[str]) -> str | None:
    """Return the delimiter that cuts the most lines into equally many fields.

    None means lines of words, of any number: an adjacency file.
    """
    best, share = None, 0.0
    for delimiter in DELIMITERS:
        try:
            counts = Counter(map(len, fields(sample, delimiter)))
        except csv.Error:
            continue
        usual, n = counts.most_common(1)[0]
        if usual > 1 and n / counts.total() > share:
            best, share = delimiter, n / counts.total()
    words = Counter(len(line.split()) for line in sample)
    listed = not any(sign in line for line in sample for sign in ("::", ",", ";", "|", '"'))
    if listed and len(words) > 1 and share < 1:
        return None
    return best or ","


def has_header(rows: Sequence[Sequence[str]], columns: Mapping[str, Any]) -> bool:
    """Return whether the first row names the columns.

    It does where one of its fields is a known or a given name, or where none of them is a number
    but all rows below have one in the same column.
    """
    first, rest = [plain_name(name) for name in rows[0]], rows[1:]
    given = {value for value in columns.values() if isinstance(value, str)} - {"auto"}
    if given & {*rows[0], *first}:
        return True
    known = {_role(name): name for name in first}
    known.pop(None, None)
    if len(known) > 1 or any(len(name) > 1 for name in known.values()):
        return True
    return (
        len(rest) > 1
        and not any(NUMBER.fullmatch(name) for name in first)
        and any(all(map(NUMBER.fullmatch, below)) for below in zip(*rest, strict=False))
    )


def plain_name(name: str) -> str:
    """Return a column's name without the type that RecBole appends, as in `user_id:token`."""
    return name.strip().partition(":")[0] or name.strip()


def take(
    path: object,
    names: Sequence[str] | None,
    rows: Sequence[Sequence[Any]],
    columns: Mapping[str, Any],
) -> dict[str, int]:
    """Return the place of the column for each of user, item, and, if there, rating and time.

    `names` are those of a header, `rows` the first rows, by which columns without names are told.

    Raises:
        UserError: when the user's or the item's column is not known, or a given one is not there.
    """
    width = len(names) if names is not None else len(rows[0])
    taken: dict[str, int] = {}
    for role in COLUMNS:
        wanted = columns.get(role)
        if wanted is not None and wanted != "auto":
            taken[role] = _given(path, role, wanted, names, width)
    for role in COLUMNS:
        if columns.get(role) == "auto":
            free = [at for at in range(width) if at not in taken.values()]
            at = _guess(role, names, rows, free, width)
            if at is not None:
                taken[role] = at
    for role in ("user", "item"):
        if role not in taken:
            shown = ", ".join(map(str, names)) if names else f"the places 0 to {width - 1}"
            raise UserError(
                f"{path}: which column holds the {role}s? It has {shown}; "
                f"name one with dataset.columns.{role}"
            )
    if len(set(taken.values())) < len(taken):
        raise UserError(
            f"{path}: dataset.columns takes one column twice: "
            + ", ".join(f"{role} is column {at}" for role, at in taken.items())
        )
    return {role: taken[role] for role in COLUMNS if role in taken}


def words_of(taken: Mapping[str, int], names: Sequence[str] | None) -> str:
    """Return in words which columns were taken."""
    shown = {role: plain_name(names[at]) if names else f"column {at}" for role, at in taken.items()}
    return ", ".join(f"{role} is {name}" for role, name in shown.items())


def _given(path: object, role: str, wanted: Any, names: Sequence[str] | None, width: int) -> int:
    if isinstance(wanted, int) and not isinstance(wanted, bool) and 0 <= wanted < width:
        return wanted
    if names is not None and isinstance(wanted, str):
        matches = [at for at, name in enumerate(names) if wanted in (name, plain_name(name))]
        if matches:
            return matches[0]
    shown = f"{', '.join(map(str, names))}, or " if names is not None else ""
    raise UserError(
        f"{path}: dataset.columns.{role} is {wanted!r}, but there are the columns {shown}"
        f"0 to {width - 1} by their place"
    )


def _role(name: str) -> str | None:
    signs = re.sub(r"[^a-z0-9]", "", plain_name(name).lower())
    return next((role for role, known in KNOWN.items() if signs in known.split()), None)


def _guess(
    role: str,
    names: Sequence[str] | None,
    rows: Sequence[Sequence[Any]],
    free: Sequence[int],
    width: int,
) -> int | None:
    """Return the place of a role's column, or None where no free column looks like it."""
    if names is not None:
        simple = {re.sub(r"[^a-z0-9]", "", plain_name(names[at]).lower()): at for at in free[::-1]}
        known = [simple[name] for name in KNOWN[role].split() if name in simple]
        if role in ("user", "item"):
            return known[0] if known else free[0] if width == 2 and free else None
        return next((at for at in known if _mostly(role, rows, at)), None)
    if role in ("user", "item"):
        return free[0] if free else None
    candidates = free[:1] if role == "rating" else free
    return next((at for at in candidates if _mostly(role, rows, at, nameless=True)), None)


def _mostly(role: str, rows: Sequence[Sequence[Any]], at: int, nameless: bool = False) -> bool:
    """Return whether half of a column or more looks like a role: `exact` refuses the others."""
    return 2 * sum(_looks(role, row[at], nameless) for row in rows) >= len(rows)


def _looks(role: str, value: Any, nameless: bool) -> bool:
    """Return whether a value may be a rating or a time; stricter where the column has no name."""
    if not isinstance(value, str):  # of a typed column, which `exact` checks
        return True
    value = value.strip()
    if role == "rating":
        return bool(NUMBER.fullmatch(value)) and (
            not nameless or abs(float(value)) <= LARGEST_RATING
        )
    return bool(TIME.fullmatch(value) or (not nameless and NUMBER.fullmatch(value)))
