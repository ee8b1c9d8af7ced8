"""The one exception that means "the user asked for something impossible"."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the user's input, told in one sentence; the command line prints it and exits with 2."""


class TrialFailed(Exception):
    """A trial that cannot go on (a loss that is not a number, say); its pack-mates can."""


def needs(what: str, package: str, extra: str) -> str:
    """Say which package is missing, and how to install it."""
    return f"{what} needs {package}, which is not installed; pip install 'hapens_bench[{extra}]' brings it"
