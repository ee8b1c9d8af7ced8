"""The command line.

A command's module is imported only when that command is typed, so help is printed at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from hapens_bench import __version__
from hapens_bench.cli.errors import guarded

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
    "tune": "search for every sampler's best setting under equal budgets; type it again to resume",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 1 a failed trial, 2 a user error, 75 a request to start it again (after SIGTERM).
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        from hapens_bench.cli.train import train

        return train(argv[1:])
    parser = argparse.ArgumentParser(
        prog="hapens", description="Compare negative samplers, honestly and fast."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if argv[:1] == [name]:
            importlib.import_module(f"hapens_bench.cli.{name}").add_arguments(command)
    arguments = parser.parse_args(argv)
    return guarded(lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
