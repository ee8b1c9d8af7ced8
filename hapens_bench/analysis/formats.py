"""Tables as Markdown, as LaTeX, and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from hapens_bench.errors import UserError
from hapens_bench.tracking.screen import NOT_CONVERGED, screen


@dataclass(frozen=True)
class Entry:
    """A table's entry; `place` 1 is the best of its column (bold), 2 the second (underlined)."""

    text: str
    place: int = 0


Line = Sequence[str | Entry]
BOLD, UNDERLINED = Style(bold=True), Style(underline=True)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as .csv or .parquet.

    Raises:
        UserError: for another ending, or a place that cannot be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(
            f"{path} ends in {path.suffix!r}, but tables are written to .csv or .parquet"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def to_markdown(
    title: str, header: Sequence[str], lines: Sequence[Line], below: Sequence[str]
) -> str:
    """Return a Markdown page: a title, a table, and the lines below it."""
    return "\n".join([f"# {title}", "", *markdown_rows(header, lines), "", *below, ""])


def markdown_rows(header: Sequence[str], lines: Sequence[Line]) -> list[str]:
    """Return the rows of a Markdown table."""
    around = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}

    def show(entry: str | Entry) -> str:
        text, place = (entry.text, entry.place) if isinstance(entry, Entry) else (entry, 0)
        return around[place].format(text.replace("|", r"\|"))

    cells = [
        list(header),
        ["---"] * len(header),
        *([show(entry) for entry in line] for line in lines),
    ]
    return ["| " + " | ".join(line) + " |" for line in cells]


def to_latex(
    name: str, caption: str, header: Sequence[str], lines: Sequence[Line], n_names: int
) -> str:
    """Return a LaTeX table for booktabs, labelled tab:<name>; `n_names` columns hold text.

    Where the headers of numbers have two words or more, the first words stand above the last one,
    once for neighbours that share them.
    """
    around = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}

    def show(entry: str | Entry) -> str:
        text, place = (entry.text, entry.place) if isinstance(entry, Entry) else (entry, 0)
        return around[place].format(_tex(text))

    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{_tex(caption)}}}",
            rf"\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{{'l' * n_names + 'r' * (len(header) - n_names)}}}",
            r"\toprule",
            *_tex_header(header, n_names),
            r"\midrule",
            *(" & ".join(map(show, line)) + r" \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _tex_header(header: Sequence[str], n_names: int) -> list[str]:
    """Return the lines of a header, in two rows where its last columns have several words."""
    if not all(" " in text for text in header[n_names:]):
        return [" & ".join(map(_tex, header)) + r" \\"]
    above, below = zip(*(text.rsplit(" ", 1) for text in header[n_names:]), strict=True)
    groups, rules, column = [], [], n_names + 1
    for text, members in groupby(above):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(text)}}}")
        rules.append(rf"\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    names = [_tex(text) for text in header[:n_names]]
    return [
        " & ".join([*[""] * n_names, *groups]) + r" \\",
        "".join(rules),
        " & ".join([*names, *map(_tex, below)]) + r" \\",
    ]


def print_table(title: str, header: Sequence[str], lines: Sequence[Line]) -> None:
    """Print a table and what its `!` means, or nothing if it has no lines.

    Numbers are never cut off: a narrow terminal wraps the lines instead.
    """
    if not lines:
        return
    console = screen()
    console.width = max(console.width, 150)
    unwrapped = None if title else _unwrapped(header, lines, console.width)
    console.print(_wrapped(title, header, lines) if unwrapped is None else unwrapped)
    if any(" !" in _text(entry) for line in lines for entry in line):
        console.print(NOT_CONVERGED)


def _wrapped(title: str, header: Sequence[str], lines: Sequence[Line]) -> Table:
    table = Table(*header, title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row(*map(_on_screen, line))
    return table


def _unwrapped(header: Sequence[str], lines: Sequence[Line], width: int) -> Segments | None:
    """Return what `_wrapped` shows where no cell is wrapped; None where one must be.

    Rich takes 2 s for the 3,000 lines of 1,000 runs.
    """
    cells = [list(header), *(list(map(_text, line)) for line in lines)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    whole = sum(widths) + 2 * len(widths) - 1
    if whole + 2 > width or any("\n" in text for row in cells for text in row):
        return None
    rule, blank = "─" * whole, " " * (whole + 2)
    parts = [Segment(f"{blank}\n")]
    for number, (row, line) in enumerate(zip(cells, [header, *lines], strict=True)):
        padded = [set_cell_size(text, size) for text, size in zip(row, widths, strict=True)]
        parts.append(Segment(" "))
        for text, entry in zip(padded, line, strict=True):
            parts.append(Segment(text, _style(entry) if number else BOLD))
            parts.append(Segment("  "))
        parts.append(Segment("\n" if number else f"\n {rule} \n"))
    return Segments([*parts, Segment(f"{blank}\n")])


def _text(entry: str | Entry) -> str:
    return entry if isinstance(entry, str) else entry.text


def _style(entry: str | Entry) -> Style | None:
    return None if isinstance(entry, str) else (None, BOLD, UNDERLINED)[entry.place]


def _on_screen(entry: str | Entry) -> Text:
    return Text(_text(entry), style=_style(entry) or "")


TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "Δ": r"$\Delta$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
}


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in text)
