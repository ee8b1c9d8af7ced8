"""`hapens runs`: list, show and compare run folders, name what failed, and clear it away."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hapens_bench.analysis.formats import print_table
from hapens_bench.analysis.query import Finished, finished, narrow, parse_where
from hapens_bench.analysis.rerun import rerun_command
from hapens_bench.cli.folders import add_runs
from hapens_bench.config.dotted import flat
from hapens_bench.config.identity import identity
from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError
from hapens_bench.runs.ledger import Ledger, load
from hapens_bench.runs.lock import RunBusy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, text in (
        ("list", run_list, "print a line for each run"),
        (
            "show",
            run_show,
            "print one run: results, provenance, config, and the command that runs it again",
        ),
        (
            "compare",
            run_compare,
            "print two runs: the keys in which they differ, and their results side by side",
        ),
        (
            "failed",
            run_failed,
            "print the runs that failed or were interrupted, why, and how to resume each",
        ),
        ("prune", run_prune, "remove the folders of runs that failed, were pruned or interrupted"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run)
        if name == "show":
            action.add_argument("run_id", help="a run id or its first characters")
        if name == "compare":
            action.add_argument("run_ids", nargs=2, metavar="RUN_ID")
        if name == "list":
            action.add_argument(
                "--where",
                nargs="*",
                default=[],
                help="only these runs, such as dataset=tools sampler.M=8,16",
            )
        if name == "prune":
            action.add_argument(
                "--yes", action="store_true", help="remove them; without it they are only named"
            )
        if name in ("list", "show", "compare"):
            add_runs(action)
        else:
            action.add_argument(
                "--runs",
                type=Path,
                default=Path("runs"),
                help="folder of run folders (default: runs)",
            )


def run_list(arguments: argparse.Namespace) -> int:
    """Print a line for each finished run that passes the filter, then how many others there are."""
    ledger = load(arguments.runs, arguments.archive)
    listed = finished(ledger.runs)
    if arguments.where:
        listed = narrow(listed, parse_where(arguments.where))
    lines = []
    for run in (item.summary for item in listed):
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
    run = find(load(arguments.runs, arguments.archive), arguments.run_id)
    for key, value in run.items():
        if key != "selection":
            print(f"{key}: {value}")
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
    config = finished([run])[0].config
    for key, value in flat(config).items():
        print(f"{key}={value}")
    seed = f"seed={config['seed']}"
    print(f"\nrun it again: {rerun_command(config, seed)}")
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Print the keys in which two runs differ, their results, and the difference over users."""
    # it imports scipy's statistics, and the other actions do without
    from hapens_bench.analysis.replicates import Replicates, compare

    ledger = load(arguments.runs, arguments.archive)
    a, b = (find(ledger, name) for name in arguments.run_ids)
    first, second = (flat(identity(run.config)) for run in finished([a, b]))
    keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
    print_table(
        "",
        ["key", a["run_id"], b["run_id"]],
        [[key, str(first.get(key, "–")), str(second.get(key, "–"))] for key in keys],
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
        print("One seed of each: this says nothing about other seeds (hapens table --rows does).")
    return 0


def run_failed(arguments: argparse.Namespace) -> int:
    """Print the runs that ended early, and the command that resumes each."""
    ledger = load(arguments.runs)
    ended = stopped(ledger)
    for run in ended:
        summary = run.summary
        if summary["state"] == "pruned":
            continue
        try:
            place = f"paths.runs={hydra_value(arguments.runs)}"
            command = rerun_command(run.config, f"seed={run.config['seed']}", place)
        except UserError as error:
            command = str(error)
        ending = f"{summary['state']} since {summary['time']}: {summary['reason'] or 'interrupted'}"
        print(f"{summary['folder']}: {ending}\n  {command}")
    _others(ledger, ended)
    return 0


def run_prune(arguments: argparse.Namespace) -> int:
    """Name or remove the folders of runs that ended early.

    Finished runs and runs being trained are never touched.
    """
    ended = stopped(load(arguments.runs))
    for run in ended:
        if arguments.yes:
            with run.folder.lock():
                remove(run.folder.path)
        print(f"{'removed' if arguments.yes else 'would remove'} {run.folder.path}")
    if not ended:
        print(f"there is nothing to remove below {arguments.runs}")
    elif not arguments.yes:
        print("nothing was removed; add --yes to do it")
    return 0


def remove(path: Path) -> None:
    """Remove a run folder; of a symbolic link the link, and not what it points to.

    Raises:
        UserError: when it cannot be removed.
    """
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"{path} cannot be removed: {error}") from None


def find(ledger: Ledger, start: str) -> Mapping[str, Any]:
    """Return the finished run whose id begins with `start`.

    Raises:
        UserError: when there is none, or several.
    """
    matches = [run for run in ledger.runs if run["run_id"].startswith(start)]
    if len(matches) != 1:
        many = f"{len(matches)} finished runs begin with" if matches else "there is no finished run"
        raise UserError(f"{many} {start!r}; hapens runs list names them")
    return matches[0]


def stopped(ledger: Ledger) -> list[Finished]:
    """Return the unfinished runs that no process is training."""
    ended = []
    for run in finished(ledger.unfinished):
        try:
            with run.folder.lock():
                ended.append(run)
        except RunBusy:
            continue
    return ended


def _others(ledger: Ledger, stopped: Sequence[Finished]) -> None:
    training = len(ledger.unfinished) - len(stopped)
    pruned = sum(run.summary["state"] == "pruned" for run in stopped)
    failed = f"{len(stopped) - pruned} failed or interrupted"
    text = f"{len(ledger.runs)} finished, {failed}, {training} being trained"
    print(text + (f", {pruned} pruned by hapens tune" if pruned else ""))
    for reason in ledger.skipped:
        print(f"skipped {reason}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
