"""Text files: separated values and adjacency lists."""

from __future__ import annotations

import csv as python_csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from hapens_bench.data.exact import TEXT, first_bad
from hapens_bench.data.own import guess
from hapens_bench.data.own.table import Table, chosen
from hapens_bench.data.parsing import records, without_blank_end
from hapens_bench.errors import UserError

SAMPLE = 200  # lines that guesses are made from
STAND_IN = "\x1f"  # for a delimiter of several characters


def sample_lines(path: Path, content: bytes) -> list[str]:
    """Return the first lines that are not blank.

    Raises:
        UserError: when they are no UTF-8 text.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:1000]:
        raise UserError(
            f"{path} is neither text in UTF-8 nor any other format that is read; "
            "store it as CSV in UTF-8, or as parquet"
        )
    lines: list[str] = []
    number, begin = 0, 0
    while begin < len(content) and len(lines) < SAMPLE:
        end = content.find(b"\n", begin)
        end = len(content) if end < 0 else end
        number += 1
        try:
            text = content[begin:end].decode().strip("\r")
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number}: it is no text in UTF-8") from None
        if text.strip(" "):
            lines.append(text)
        begin = end + 1
    if not lines:
        raise UserError(f"{path} holds nothing but blank lines")
    return lines


def read_delimited(path: Path, content: bytes, options: Mapping[str, Any]) -> Table:
    """Read lines of separated values; a delimiter of several characters or blanks has no quotes.

    Raises:
        UserError: with file and line.
    """
    content = without_blank_end(content)
    sample = sample_lines(path, content)
    delimiter = options["delimiter"]
    if delimiter == "auto":
        delimiter = guess.delimiter_of(sample) or " "
    delimiter = guess.WORDS.get(delimiter, delimiter)
    try:
        rows = guess.fields(sample, delimiter)
    except (TypeError, ValueError, python_csv.Error) as error:
        raise UserError(f"{path} cannot be cut at {delimiter!r}: {error}") from None
    header = options["header"]
    if header == "auto":
        header = guess.has_header(rows, options["columns"])
    names = rows[0] if header else None
    below = [row for row in rows[1 if header else 0 :] if len(row) == len(rows[0])]
    if not below:
        raise UserError(f"{path} has a header, but no rows")
    if len(rows[0]) < 2:
        raise UserError(
            f"{path}: its first line is one field, {rows[0][0][:60]!r}; a user and an item are "
            "needed, and dataset.delimiter says what divides them"
        )
    taken = guess.take(path, names, below, options["columns"])
    single, content, cut = _single(path, content, delimiter)
    columns = _read(path, content, single, cut, len(rows[0]), list(taken.values()), bool(header))
    line = _lines_of_rows(path, content, single, cut, bool(header))
    word = {sign: word for word, sign in guess.WORDS.items() if word.isalpha()}.get(delimiter)
    said = f"delimiter {word or repr(delimiter)}; "
    said += f"{'header' if names else 'no header'} {', '.join(rows[0])[:80]!r}; "
    said += guess.words_of(taken, names)
    if joined_lines := content.count(b"\n") + 1 - bool(header) - len(columns[0]):
        said += f"; {joined_lines} line breaks are blank lines or within quotation marks"
    return Table(
        dict(zip(taken, columns, strict=True)),
        {role: names[at] if names else f"column {at}" for role, at in taken.items()},
        lambda row: f"{path}, line {line(row)}",
        chosen("delimited", taken, names, delimiter=word or delimiter, header=bool(header)),
        said,
    )


def _single(path: Path, content: bytes, delimiter: str) -> tuple[str, bytes, bool]:
    """Return a delimiter of one character, the content with it, and whether it was put there."""
    if delimiter == " ":
        lines = (b" ".join(line.split()) for line in content.split(b"\n"))
        return " ", b"\n".join(lines), True
    if len(delimiter.encode()) == 1:
        return delimiter, content, False
    if STAND_IN.encode() in content:
        raise UserError(f"{path} holds the character \\x1f, so it cannot be cut at {delimiter!r}")
    return STAND_IN, content.replace(delimiter.encode(), STAND_IN.encode()), True


def _read(
    path: Path, content: bytes, delimiter: str, cut: bool, width: int, at: list[int], header: bool
) -> list[pa.Array]:
    names = [f"f{place}" for place in range(width)]
    blank = content[: len(content) - len(content.lstrip(b" \r\n"))].count(
        b"\n"
    )  # lines at the beginning
    quoting = {"quote_char": False} if cut else {"newlines_in_values": True}
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(column_names=names, skip_rows=blank + header),
            parse_options=csv.ParseOptions(delimiter=delimiter, **quoting),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, TEXT),
                include_columns=[names[place] for place in at],
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        for number, found in _records(path, content, delimiter, cut):
            if len(found) != width:
                raise UserError(
                    f"{path}, line {number}: expected {width} fields but found {len(found)}: "
                    f"{' '.join(found)[:60]!r}"
                ) from None
            if any("\ufffd" in found[place] for place in at):
                raise UserError(f"{path}, line {number}: it is no text in UTF-8") from None
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
    return [table.column(place).combine_chunks() for place in range(len(at))]


def _records(
    path: Path, content: bytes, delimiter: str, cut: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each record."""
    if not cut:
        yield from records(path, content, delimiter)
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip(b"\r"):
            yield number, line.strip(b"\r").decode("utf-8", "replace").split(delimiter)


def _lines_of_rows(
    path: Path, content: bytes, delimiter: str, cut: bool, header: bool
) -> Callable[[int], int]:
    """Return what says in which line a row stands."""

    def line(row: int) -> int:
        for at, (number, _) in enumerate(_records(path, content, delimiter, cut)):
            if at == row + header:
                return number
        raise IndexError(row)

    return line


def read_adjacency(path: Path, content: bytes) -> Table:
    """Read lines `user item item ...`; a line with a user alone has no pair.

    Raises:
        UserError: when there is no pair, or a line is no text.
    """
    sample_lines(path, content)
    lines = pa.array(without_blank_end(content).split(b"\n"), pa.large_binary())
    try:
        texts = lines.cast(TEXT)
    except pa.ArrowInvalid:
        bad = first_bad(lines, lambda part: part.cast(TEXT))
        raise UserError(f"{path}, line {bad + 1}: it is no text in UTF-8") from None
    words = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(texts))
    count = pc.list_value_length(words).to_numpy(zero_copy_only=False)
    flat = words.flatten()
    begin = count.cumsum() - count
    number = np.repeat(np.arange(len(count)), count)
    first = np.zeros(len(flat), dtype=bool)
    first[begin[count > 0]] = True
    user = flat.take(pa.array(np.repeat(begin, count)[~first]))
    item = flat.filter(pa.array(~first))
    number = number[~first]
    if not len(item):
        raise UserError(f"{path} holds no pair of a user and an item")
    return Table(
        {"user": user, "item": item},
        {"user": "user", "item": "item"},
        lambda row: f"{path}, line {number[row] + 1}",
        chosen("adjacency", {}, None),
        "adjacency lists, lines `user item item ...`",
    )
