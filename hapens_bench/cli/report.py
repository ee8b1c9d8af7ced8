"""`hapens report`: write one HTML file that shows every run."""

from __future__ import annotations

import argparse
import sys

from hapens_bench.cli.folders import add_folders, out_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_folders(parser, "report.html")
    parser.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """Write the report and print what was left out of it."""
    from hapens_bench.analysis.report.page import write_report

    ledger = write_report(arguments.runs, out_of(arguments), arguments.archive)
    for what in ledger.skipped:
        print(f"skipped {what}", file=sys.stderr)
    print(
        f"{len(ledger.runs)} finished runs, {len(ledger.unfinished)} not finished; "
        f"written: {out_of(arguments)}"
    )
    return 0
