"""The command line.

A command's module is imported only when that command is typed, so help is printed at once.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from typing import NoReturn

from hapens_bench import __version__
from hapens_bench.cli.errors import guarded
from hapens_bench.errors import UserError, did_you_mean
from hapens_bench.startup import uncollected

COMMANDS = {
    "train": "train trials; takes Hydra overrides (see: hapens train --help)",
    "data": "list, fetch, verify and describe the data sets, and add your own",
    "table": "print and write a table of the finished runs: a paper's or your own",
    "figure": "draw curves, grids, bars or paths from the finished runs",
    "report": "write one HTML file that shows every run",
    "choose": "write each sampler's best trial of a tuning experiment into conf/tuned",
    "runs": "list, show, compare and clear run folders",
    "archive": "pack finished runs into small files that can be committed, and check them",
    "queue": "work through a file of commands on idle cores, and archive what is finished",
    "export": "write a run's user and item vectors, with the ids of your files",
    "recommend": "print or write a run's best items for users, with the ids of your files",
    "push": "fill a tracker from finished run folders",
    "compare": "put your own sampler into a paper's table, against the archived methods",
    "tune": "search for every sampler's best setting under equal budgets; type it again to resume",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 1 a failed trial, 2 a user error, 75 a request to start it again (after SIGTERM).
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        with uncollected():
            from hapens_bench.cli.train import train

        return train(argv[1:])
    parser = Parser(prog="hapens", description="Compare negative samplers, honestly and fast.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if argv[:1] == [name]:
            with uncollected():
                importlib.import_module(f"hapens_bench.cli.{name}").add_arguments(command)
    return guarded(lambda: run(parser, argv))


def run(parser: argparse.ArgumentParser, argv: list[str]) -> int:
    """Run the command that was typed."""
    arguments, more = parser.parse_known_args(argv)
    if not hasattr(arguments, "overrides") or not all(re.match("[^-].*=", text) for text in more):
        parser.parse_args(argv)  # which says what is wrong
    if more:  # KEY=VALUE behind an option, which argparse leaves over
        arguments.overrides = [*arguments.overrides, *more]
    code: int = arguments.run(arguments)
    return code


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed; a mistyped choice is told what it is nearest to.

        Raises:
            UserError: always.
        """
        invalid = r"argument (.+): invalid choice: (['\"])(.*)\2 \(choose from (.+)\)"
        if choice := re.fullmatch(invalid, message):
            what, typed, known = choice[1], choice[3], re.findall(r"[\w-]+", choice[4])
            start = f"{what} is" if what.startswith("-") else f"there is no {what.lower()}"
            message = f"{start} {typed!r}; choose one of {', '.join(known)}"
            raise UserError(message + did_you_mean(typed, known))
        raise UserError(f"{self.prog}: {message}")


if __name__ == "__main__":
    sys.exit(main())
