"""`hapens export`: write the vectors of a finished run, with the ids of its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from hapens_bench.analysis.vectors import Vectors, read_vectors, write_vectors
from hapens_bench.cli.runs import find
from hapens_bench.data.sources import cache_dir, mirror_dir
from hapens_bench.runs.ledger import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "--out", type=Path, help="a .npz or .parquet file (default: vectors-RUN.npz)"
    )
    parser.set_defaults(run=run_export)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run id and --runs."""
    parser.add_argument(
        "run_id",
        metavar="RUN",
        help="a run id or its first characters, of a run trained with trainer.best_model=true",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
    )


def vectors_of(arguments: argparse.Namespace) -> Vectors:
    """Return the vectors of the run that a command names."""
    run = find(load(arguments.runs), arguments.run_id)
    return read_vectors(run, cache_dir(), mirror_dir())


def run_export(arguments: argparse.Namespace) -> int:
    """Write the vectors and print where."""
    vectors = vectors_of(arguments)
    out = arguments.out or Path(f"vectors-{arguments.run_id}.npz")
    write_vectors(vectors, out)
    (n_users, D), n_items = vectors.users.shape, len(vectors.items)
    print(f"written: {out} ({n_users:,} users and {n_items:,} items, {D} numbers each)")
    return 0
