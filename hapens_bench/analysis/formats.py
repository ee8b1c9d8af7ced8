"""Tables as Markdown, as LaTeX, and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hapens_bench.errors import UserError


@dataclass(frozen=True)
class Entry:
    """A table's entry; `place` 1 is the best of its column (bold), 2 the second (underlined)."""

    text: str
    place: int = 0


Line = Sequence[str | Entry]


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


def to_latex(title: str, header: Sequence[str], lines: Sequence[Line], n_names: int) -> str:
    """Return a LaTeX table for booktabs; the first `n_names` columns hold text."""
    around = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}

    def show(entry: str | Entry) -> str:
        text, place = (entry.text, entry.place) if isinstance(entry, Entry) else (entry, 0)
        return around[place].format(_tex(text))

    body = [" & ".join(map(show, line)) + r" \\" for line in lines]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{_tex(title)}}}",
            rf"\begin{{tabular}}{{{'l' * n_names + 'r' * (len(header) - n_names)}}}",
            r"\toprule",
            " & ".join(map(show, header)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def print_table(title: str, header: Sequence[str], lines: Sequence[Line]) -> None:
    """Print a table, or nothing if it has no lines.

    Numbers are never cut off: a narrow terminal wraps the lines instead.
    """
    if not lines:
        return
    table = Table(*header, title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row(*map(_on_screen, line))
    console = Console()
    console.width = max(console.width, 150)
    console.print(table)


def _on_screen(entry: str | Entry) -> Text:
    if isinstance(entry, str):
        return Text(entry)
    return Text(entry.text, style={0: "", 1: "bold", 2: "underline"}[entry.place])


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
