"""Exceptions that a user meets: a mistake in the input, and a trial that cannot go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the input, in one sentence; the command line prints it and exits with 2."""


class TrialFailed(Exception):
    """A trial that cannot go on, for example with a loss that is nan; its pack-mates can."""


def needs(what: str, package: str, extra: str) -> str:
    """Return the sentence that names a missing package and the command that installs it."""
    return (
        f"{what} needs {package}, which is not installed; "
        f"pip install 'hapens_bench[{extra}]' brings it"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the known word nearest to a mistyped one, if any."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
