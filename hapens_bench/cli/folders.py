"""The folders of every command that reads runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hapens_bench.config.paths import archive_dir, conf_dir


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs, and --archive with its opposite."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
    )
    add_archive(parser)


def add_archive(parser: argparse.ArgumentParser) -> None:
    """Add --archive with its opposite."""
    parser.add_argument(
        "--archive",
        type=Path,
        default=archive_dir(os.environ.get("HAPENS_ARCHIVE", "shipped")),
        help="folder of archives whose runs count, too (default: HAPENS_ARCHIVE, else the shipped "
        "results/archive)",
    )
    parser.add_argument(
        "--no-archive",
        dest="archive",
        action="store_const",
        const=None,
        help="only the runs of --runs",
    )


def add_folders(parser: argparse.ArgumentParser, out: str) -> None:
    """Add --runs, --archive, --out and --ship; results go to out/<out> or results/<out>."""
    add_runs(parser)
    parser.add_argument("--out", type=Path, help=f"where to write (default: out/{out})")
    parser.add_argument(
        "--ship", action="store_true", help=f"write into what is shipped, results/{out}"
    )
    parser.set_defaults(place=out)


def out_of(arguments: argparse.Namespace) -> Path:
    """Return where a command writes."""
    root = conf_dir().parent / "results" if arguments.ship else Path("out")
    return Path(arguments.out or root / arguments.place)
