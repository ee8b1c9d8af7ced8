"""`hapens choose`: write the best settings of a tuning experiment into conf/tuned."""

from __future__ import annotations

import argparse
import re

from hapens_bench.analysis.formats import Line, print_table
from hapens_bench.cli.folders import add_folders, out_of
from hapens_bench.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "experiments",
        help="tuning experiments of conf/experiment, such as tune_ahns or tune_ahns,tune_ahns_fine",
    )
    parser.add_argument(
        "setting", help="folder of conf/tuned to write, such as equal; then tuned=equal uses it"
    )
    parser.add_argument(
        "--dataset", nargs="*", default=[], help="only these data sets (default: all that were run)"
    )
    parser.add_argument(
        "--sampler",
        nargs="*",
        default=[],
        help="only these samplers (default: all of the experiment)",
    )
    parser.add_argument(
        "--trials", help="budget of each experiment, such as 16 or 16,8 (default: its own)"
    )
    add_folders(parser, "tuning")
    parser.set_defaults(run=run_choose)


def run_choose(arguments: argparse.Namespace) -> int:
    """Write the best settings and print them."""
    from hapens_bench.tune.choose import check_setting, write_choice

    check_setting(arguments.setting, arguments.ship)
    names = arguments.experiments.split(",")
    trials = arguments.trials.split(",") if arguments.trials else []
    whole = all(re.fullmatch("[1-9][0-9]*", n) for n in trials)
    if not whole or len(trials) not in (0, len(names)):
        raise UserError(
            f"--trials is {arguments.trials!r}, "
            f"but it takes a whole number above 0 for each of {', '.join(names)}"
        )
    written = write_choice(
        names,
        arguments.setting,
        arguments.runs,
        arguments.dataset,
        arguments.sampler,
        [int(n) for n in trials],
        out_of(arguments),
        arguments.archive,
    )
    lines: list[Line] = []
    for row in written.chosen.to_dict("records"):
        epoch = f"{row['epoch']}" + ("" if row["converged"] else " !")
        value = f"{100 * row['value']:.2f}"
        lines.append(
            [row["dataset"], row["sampler"], str(row["trials"]), row["setting"], value, epoch]
        )
    header = ["dataset", "sampler", "trials", "best setting", "validation, percent", "epoch"]
    print_table("best by validation", header, lines)
    for sentence in written.said:
        print(f"- {sentence}")
    print(f"written: conf/tuned/{arguments.setting}/*.yaml and {out_of(arguments)}/{names[0]}/")
    return 0
