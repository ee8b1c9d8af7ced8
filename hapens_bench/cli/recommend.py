"""`hapens recommend`: the best new items for users, by a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path

from hapens_bench.analysis.formats import print_table, write_frame
from hapens_bench.analysis.vectors import recommend
from hapens_bench.cli.export import add_run, vectors_of
from hapens_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "--user", nargs="+", metavar="ID", help="ids as in your files (default: all; needs --out)"
    )
    parser.add_argument("-k", type=int, default=20, help="items for each user (default: 20)")
    parser.add_argument("--out", type=Path, help="a .csv or .parquet file; without it, print them")
    parser.set_defaults(run=run_recommend)


def run_recommend(arguments: argparse.Namespace) -> int:
    """Print or write the best items; those that a user has had are left out."""
    if arguments.user is None and arguments.out is None:
        raise UserError("hapens recommend takes --user, or --out to write those of all users")
    frame = recommend(vectors_of(arguments), arguments.user, arguments.k)
    if arguments.out is not None:
        write_frame(frame, arguments.out)
        print(f"written: {arguments.out} ({len(frame):,} rows)")
        return 0
    lines = [
        [row["user"], str(row["rank"]), row["item"], f"{row['score']:.4f}"]
        for row in frame.to_dict("records")
    ]
    print_table("", list(frame.columns), lines)
    return 0
