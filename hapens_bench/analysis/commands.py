"""`hapens table`: read run folders, print and write a paper's table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from hapens_bench.analysis.ledger import finished_runs
from hapens_bench.analysis.tables import write_table


def add_parser(commands: Any) -> None:
    """Add `table` to the command line."""
    parser = commands.add_parser("table", help="print and write a paper's table from the finished runs")
    parser.add_argument("name", help="ahns_table2")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)")
    parser.add_argument("--out", type=Path, default=Path("results/tables"), help="default: results/tables")
    parser.set_defaults(run=run_table)


def run_table(arguments: argparse.Namespace) -> int:
    """Print the table on the screen and write its files."""
    runs, skipped = finished_runs(arguments.runs)
    for what in skipped:
        print(f"skipped {what}", file=sys.stderr)
    title, header, lines = write_table(arguments.name, runs, arguments.out)
    table = Table(*header, title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for line in lines:
        if line[3] != "0":
            table.add_row(*line)
    console = Console()
    console.width = max(console.width, 150)  # numbers are never cut off; a narrow terminal wraps the lines
    console.print(table)
    console.print(f"written: {arguments.out}/{arguments.name}.csv, .md, .tex, .provenance.json")
    return 0
