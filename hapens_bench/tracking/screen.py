"""The screen: consoles that print every text as it is, so a folder `[/x]` is never markup."""

from __future__ import annotations

from rich.console import Console

LOG_WIDTH = 110  # least columns where there is no terminal, as in a log file
# Tables mark an epoch with `!`, and print this below.
NOT_CONVERGED = "!: the best epoch of a run was its last (not converged)"


def screen(stderr: bool = False) -> Console:
    """Return a console without markup, highlighting and emoji codes."""
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, LOG_WIDTH)
    return console
