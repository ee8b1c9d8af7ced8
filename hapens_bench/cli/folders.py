"""The two folders of every command that reads run folders."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_folders(parser: argparse.ArgumentParser, out: str) -> None:
    """Add --runs and --out."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
    )
    parser.add_argument("--out", type=Path, default=Path(out), help=f"default: {out}")
