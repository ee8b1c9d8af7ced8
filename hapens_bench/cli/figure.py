"""`hapens figure`: draw the finished runs."""

from __future__ import annotations

import argparse
import sys

from hapens_bench.analysis.query import parse_where
from hapens_bench.cli.folders import add_folders
from hapens_bench.training.trial import STAGES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", help="of conf/figure, as hardness or ahns_fig5")
    filters = "these runs only, as dataset=tools sampler=dns,ahns sampler.M=16: dataset, model, protocol, sampler, seed, "
    parser.add_argument(
        "--where",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help=f"{filters}selection or any key of config.yaml",
    )
    parser.add_argument(
        "--stage",
        choices=STAGES,
        help="draw this stage's epochs, not those of the figure's own stage",
    )
    add_folders(parser, "results/figures")
    parser.set_defaults(run=run_figure)


def run_figure(arguments: argparse.Namespace) -> int:
    """Draw the figure and say what is missing in it."""
    from hapens_bench.analysis.figures.definition import write_figure

    where = parse_where(arguments.where)
    frame, notes = write_figure(
        arguments.name, arguments.runs, arguments.out, where, arguments.stage
    )
    print(
        f"{len(frame)} points; written: {arguments.out}/{arguments.name}.svg, .png, .csv, .provenance.json"
    )
    for note in notes:
        print(note, file=sys.stderr)
    return 0
