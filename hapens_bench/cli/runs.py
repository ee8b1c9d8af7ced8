"""`hapens runs`: what has been run, one run in full, two runs side by side, what failed, and clearing that away."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from hapens_bench.analysis.formats import print_table
from hapens_bench.analysis.query import Finished, finished, flat, narrow, parse_where
from hapens_bench.analysis.replicates import Replicates, compare
from hapens_bench.analysis.rerun import rerun_command
from hapens_bench.config.identity import identity
from hapens_bench.errors import UserError
from hapens_bench.runs.ledger import Ledger, load
from hapens_bench.runs.lock import RunBusy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, text in (
        ("list", run_list, "a line for each run"),
        (
            "show",
            run_show,
            "one run: results, where they come from, config, and the command that runs it again",
        ),
        (
            "compare",
            run_compare,
            "two runs: the keys in which they differ, and their results side by side",
        ),
        (
            "failed",
            run_failed,
            "runs that failed or were interrupted, why, and the command that goes on with each",
        ),
        ("prune", run_prune, "remove the folders of runs that failed, were pruned or interrupted"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run)
        if name == "show":
            action.add_argument("run_id", help="or its first characters")
        if name == "compare":
            action.add_argument("run_ids", nargs=2, metavar="RUN_ID")
        if name == "list":
            action.add_argument(
                "--where", nargs="*", default=[], help="as dataset=tools sampler.M=8,16"
            )
        if name == "prune":
            action.add_argument(
                "--yes", action="store_true", help="remove them; without it they are only named"
            )
        action.add_argument(
            "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
        )


def run_list(arguments: argparse.Namespace) -> int:
    """Print a line for each finished run that passes the filter, then how many others there are."""
    ledger = load(arguments.runs)
    found = finished(ledger.runs)
    if arguments.where:
        found = narrow(found, parse_where(arguments.where))
    lines = []
    for run in (one.summary for one in found):
        for selection, report in run["selection"].items():
            metric, value = next(iter(report["test"].items()))
            epoch = f"{report['epoch']}" + ("" if report["converged"] else " !")
            names = [run[key] for key in ("run_id", "dataset", "model", "sampler", "protocol")]
            lines.append(
                [*names, str(run["seed"]), selection, epoch, f"{metric} {_percent(value)}"]
            )
    header = [
        "run",
        "dataset",
        "model",
        "sampler",
        "protocol",
        "seed",
        "selection",
        "epoch",
        "test, percent",
    ]
    print_table("", header, lines)
    _others(ledger, stopped(ledger))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print everything about one run."""
    run = find(load(arguments.runs), arguments.run_id)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for key, value in run.items():
        if key != "selection":
            console.print(f"{key}: {value}")
    metrics = list(
        dict.fromkeys(metric for report in run["selection"].values() for metric in report["test"])
    )
    lines = [
        [
            name,
            f"{report['epoch']}" + ("" if report["converged"] else " !"),
            *(_percent(report["test"].get(m)) for m in metrics),
        ]
        for name, report in run["selection"].items()
    ]
    print_table("", ["selection", "epoch", *metrics], lines)
    (one,) = finished([run])
    for key, value in flat(one.config).items():
        console.print(f"{key}={value}")
    console.print(f"\nrun it again: {rerun_command(one.config)} seed={one.config['seed']}")
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Print in which keys two runs differ, their results, and the difference over users."""
    ledger = load(arguments.runs)
    a, b = (find(ledger, name) for name in arguments.run_ids)
    one, two = (flat(identity(run.config)) for run in finished([a, b]))
    keys = [key for key in dict.fromkeys([*one, *two]) if one.get(key) != two.get(key)]
    print_table(
        "",
        ["key", a["run_id"], b["run_id"]],
        [[key, str(one.get(key, "–")), str(two.get(key, "–"))] for key in keys],
    )
    lines = []
    for selection in (name for name in a["selection"] if name in b["selection"]):
        for metric in a["selection"][selection]["test"]:
            scores = [run["selection"][selection]["test"].get(metric) for run in (a, b)]
            line = [selection, metric, *map(_percent, scores)]
            if a["data_hash"] == b["data_hash"] and None not in scores:
                _, users = compare(
                    Replicates([{**a, "seed": 0}]),
                    Replicates([{**b, "seed": 0}]),
                    selection,
                    metric,
                )
                span = users.words or f"{users.low:+.2f} … {users.high:+.2f}"
                line += [
                    f"{users.difference:+.2f}",
                    span,
                    (users.words and "–") or f"{users.p:.4f}",
                ]
            else:
                line += ["different data", "–", "–"]
            lines.append(line)
    print_table(
        "",
        [
            "selection",
            "metric",
            a["run_id"],
            b["run_id"],
            "difference",
            "95% over users",
            "p over users",
        ],
        lines,
    )
    if a["seed"] != b["seed"] or keys:
        print(
            "One seed of each: this says nothing of what other seeds would give (hapens table --rows does)."
        )
    return 0


def run_failed(arguments: argparse.Namespace) -> int:
    """Print the runs that ended early, and the command that goes on with each."""
    ledger = load(arguments.runs)
    ended = stopped(ledger)
    for one in ended:
        if one.summary["state"] == "pruned":
            continue
        run, reason = one.summary, one.summary["reason"] or "interrupted"
        try:
            command = (
                f"{rerun_command(one.config)} seed={one.config['seed']} paths.runs={arguments.runs}"
            )
        except UserError as error:
            command = str(error)
        print(f"{run['folder']}: {run['state']} since {run['time']}: {reason}\n  {command}")
    _others(ledger, ended)
    return 0


def run_prune(arguments: argparse.Namespace) -> int:
    """Name or remove the folders of runs that ended early; finished ones and those being trained are never touched."""
    found = stopped(load(arguments.runs))
    for one in found:
        if arguments.yes:
            with one.folder.lock():
                shutil.rmtree(one.folder.path)
        print(f"{'removed' if arguments.yes else 'would remove'} {one.folder.path}")
    if not arguments.yes and found:
        print("nothing was removed; add --yes to do it")
    return 0


def find(ledger: Ledger, start: str) -> Mapping[str, Any]:
    """Give the finished run whose id begins so.

    Raises:
        UserError: when there is none, or several.
    """
    found = [run for run in ledger.runs if run["run_id"].startswith(start)]
    if len(found) != 1:
        many = f"{len(found)} finished runs begin with" if found else "there is no finished run"
        raise UserError(f"{many} {start!r}; hapens runs list names them")
    return found[0]


def stopped(ledger: Ledger) -> list[Finished]:
    """Give the unfinished runs that no process holds."""
    found = []
    for run in finished(ledger.unfinished):
        try:
            with run.folder.lock():
                found.append(run)
        except RunBusy:
            continue
    return found


def _others(ledger: Ledger, stopped: Sequence[Finished]) -> None:
    held = len(ledger.unfinished) - len(stopped)
    pruned = sum(run.summary["state"] == "pruned" for run in stopped)
    text = f"{len(ledger.runs)} finished, {len(stopped) - pruned} failed or interrupted, {held} being trained"
    print(text + (f", {pruned} pruned by hapens tune" if pruned else ""))
    for what in ledger.skipped:
        print(f"skipped {what}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
