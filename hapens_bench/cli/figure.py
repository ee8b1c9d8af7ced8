"""`hapens figure`: draw a figure of the finished runs."""

from __future__ import annotations

import argparse
import sys

from hapens_bench.analysis.query import parse_where
from hapens_bench.cli.folders import add_folders, out_of
from hapens_bench.training.trial import STAGES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", help="figure of conf/figure, such as hardness or ahns_fig5")
    parser.add_argument(
        "--where",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="only these runs, such as dataset=tools sampler=dns,ahns sampler.M=16; "
        "keys: dataset, model, protocol, sampler, seed, selection, or any key of config.yaml",
    )
    parser.add_argument(
        "--stage",
        choices=STAGES,
        help="draw the epochs of this stage instead of the figure's own: "
        "held trains without the validation part, full trains on all of train",
    )
    add_folders(parser, "figures")
    parser.set_defaults(run=run_figure)


def run_figure(arguments: argparse.Namespace) -> int:
    """Draw the figure and print what is missing from it."""
    from hapens_bench.analysis.figures.definition import write_figure

    where = parse_where(arguments.where)
    frame, notes = write_figure(
        arguments.name,
        arguments.runs,
        out_of(arguments),
        where,
        arguments.stage,
        arguments.archive,
    )
    print(
        f"{len(frame)} points; "
        f"written: {out_of(arguments)}/{arguments.name}.svg, .png, .csv, .provenance.json"
    )
    for note in notes:
        print(note, file=sys.stderr)
    return 0
