"""Tables on the screen: long ones are laid out without rich, and look the same."""

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hapens_bench.analysis.formats import Entry, _unwrapped

HEADER = ["run", "a b", "日本"]
LINES = [
    ["x", "[b]yy[/b]", Entry("1.0 !", 1)],
    ["long one", "", "界"],
    ["z", Entry("q", 2), "–"],
]


def printed(table, **terminal) -> str:
    console = Console(file=io.StringIO(), width=150, **terminal)
    console.print(table)
    return console.file.getvalue()


def test_a_table_that_fits_is_the_one_of_rich():
    table = Table(*HEADER, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for line in LINES:
        table.add_row(*(Text(cell if isinstance(cell, str) else cell.text) for cell in line))
    assert printed(_unwrapped(HEADER, LINES, 150)) == printed(table)


def test_the_best_are_bold_and_the_second_underlined():
    text = printed(
        _unwrapped(HEADER, LINES, 150), force_terminal=True, color_system="standard", no_color=None
    )
    assert "\x1b[1m1.0 !" in text and "\x1b[4mq" in text and "\x1b[1mrun" in text


def test_what_does_not_fit_is_left_to_rich():
    assert _unwrapped(HEADER, LINES, 29) is not None and _unwrapped(HEADER, LINES, 28) is None
    assert _unwrapped(["a"], [["two\nlines"]], 150) is None
