"""A sweep while it trains: a live board on a terminal, lines with time stamps in a log file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hapens_bench.tracking.board import Board, spell
from hapens_bench.tracking.console import STDERR, is_live, say
from hapens_bench.tracking.news import Ended, Epoch, News, Tell

REFRESH = 2  # times a second
TOLD = ("failed", "interrupted")  # ends that are told at once


@contextlib.contextmanager
def shown(configs: Mapping[str, Mapping[str, Any]]) -> Iterator[Tell]:
    """Show what trials are at until the end of the block, from the news that it tells.

    `configs` are those of the trials, by run id. On a terminal everything else that is printed
    meanwhile stands above the board, which is removed at the end.
    """
    board = Board(configs)
    if not is_live():
        yield lambda news: tell_in_lines(board, news)
        return

    def tell(news: News) -> None:
        tell_ends(board, news)

    live = Live(
        get_renderable=lambda: picture(board),
        console=STDERR,
        refresh_per_second=REFRESH,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with live:
        yield tell


def tell_ends(board: Board, news: News) -> bool:
    """Enter news into the board; print which trials have failed, and return whether any is over."""
    over = board.take(news)
    if over and isinstance(news, Ended) and news.state in TOLD:
        name = over[0].name if len(over) == 1 else f"{over[0].label} x {len(over)}"
        say(f"{name} stopped: {news.reason}")
    return bool(over)


def tell_in_lines(board: Board, news: News) -> None:
    """Print a line for each evaluation of a pack, and one with the best values when it is over."""
    if tell_ends(board, news) and not board.packs:
        say(f"{board.summary()}{best_text(board)}")
    if isinstance(news, Epoch) and news.evaluated:
        say(f"{board.pack_text(news)}{board.metrics_text(news)}  ({board.summary()})")


def best_text(board: Board) -> str:
    """Return the best validation values so far in words."""
    words = [
        f"{run.monitor} {run.best:.4f} {run.name}" for _, run in board.by_label().values() if run
    ]
    return f"; best on validation: {', '.join(words)}" if words else ""


def picture(board: Board) -> Group:
    """Draw the board: a bar, a line for each pack in training, and a row for each sampler."""
    with board.lock:
        total = len(board.runs)
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total, sum(run.part for run in board.runs.values()), width=24)
        passed = spell(board.seconds())
        head.add_row(bar, Text(f"{board.summary()}, {passed} so far"))
        packs = [
            Text(board.pack_text(pack), no_wrap=True, overflow="ellipsis")
            for pack in board.packs.values()
        ]
        return Group(head, *packs, samplers(board))


def samplers(board: Board) -> Table:
    """Draw how many trials of each sampler are done, and its best validation value so far."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", "done", "running", "left"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_column("best on validation", no_wrap=True)
    # those in training first, because what does not fit below is cut off
    rows = sorted(board.by_label().items(), key=lambda row: not row[1][0]["running"])
    for label, (counts, best) in rows:
        cells = [str(counts[state]) for state in ("done", "running", "left")]
        found = f"{best.monitor} {best.best:.4f}  {best.name}" if best else ""
        table.add_row(Text(label), *cells, Text(found))
    return table
