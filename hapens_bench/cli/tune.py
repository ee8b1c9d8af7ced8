"""`hapens tune`: search for each sampler's best setting on validation, with equal budgets."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from hapens_bench.analysis.formats import Line, print_table
from hapens_bench.config.outside import add_config_dir, outside
from hapens_bench.config.quoting import hapens_command
from hapens_bench.errors import UserError
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.screen import screen
from hapens_bench.tune.choose import best, check_setting, write_evidence, write_tuned
from hapens_bench.tune.plan import Plan, make_plan, trial_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", help="search of conf/tune, such as ahns")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="tune.KEY=VALUE (see conf/tune/default.yaml), and overrides of hapens train -m, "
        "such as dataset=tools sampler=rns,dns",
    )
    add_config_dir(parser)
    parser.set_defaults(run=run_tune)


def run_tune(arguments: argparse.Namespace) -> int:
    """Search, then write and print the results."""
    if importlib.util.find_spec("optuna") is None:
        raise UserError("hapens tune needs optuna: pip install 'hapens_bench[tune]'")
    beside, words = outside(arguments.overrides, arguments.config_dir)
    plan = make_plan(arguments.name, words, beside)
    setting = plan.settings["setting"]
    if setting is not None:
        check_setting(setting, ship=False)
    from hapens_bench.tune.loop import chosen, search

    console = screen()
    frame = search(plan, console)
    show_failed(frame, console)
    winners = best(frame)
    paths = plan.studies[0].base["paths"]
    out = Path(plan.settings["out"] or f"{paths['out']}/tuning").expanduser()
    folder = out / f"{plan.name}_{plan.settings['algorithm']}"
    said = write_evidence(
        frame.drop(columns=["command", "run_ids"]),
        summaries(plan, frame),
        folder,
        plan.monitor,
        plan.baseline,
        plan.in_order,
    )
    if setting is not None:
        command = hapens_command("tune", plan.name, *beside.overrides, *words)
        for row in winners.to_dict("records"):
            write_tuned(setting, chosen(plan, row), row, command, str(folder))
    show(plan, frame, winners, said)
    written = f"conf/tuned/{setting}/*.yaml and " if setting is not None else ""
    print(
        f"written: {written}{folder}/"
        + ("" if setting is not None else "; tune.setting=NAME writes conf/tuned/NAME")
    )
    return 0


def summaries(plan: Plan, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the summaries of a search's finished runs, without those cleared away."""
    studies = {(study.dataset, study.sampler): study for study in plan.studies}
    folders = [
        RunFolder(trial_folder(studies[row["dataset"], row["sampler"]], run_id))
        for row in frame.to_dict("records")
        for run_id in row["run_ids"]
    ]
    return [folder.read_summary() for folder in folders if folder.is_done()]


def show_failed(frame: pd.DataFrame, console: Console) -> None:
    """Print the failed trials, why they failed, and the command that runs each again."""
    failed = frame[frame["state"] == "failed"]
    if len(failed):
        console.print(f"{len(failed)} of {len(frame)} trials failed; they are part of the budget:")
    for row in failed.to_dict("records"):
        console.print(
            f"{row['sampler']} trial {row['trial']}: {row['reason']}\n    {row['command']}",
            soft_wrap=True,
        )


def show(plan: Plan, frame: pd.DataFrame, winners: pd.DataFrame, said: list[str]) -> None:
    """Print the best settings, how the budgets were spent, and sentences on the baseline."""
    lines: list[Line] = []
    for row in winners.to_dict("records"):
        trials = frame[(frame["dataset"] == row["dataset"]) & (frame["sampler"] == row["sampler"])]
        counts = [
            str((trials["state"] == state).sum()) for state in ("complete", "pruned", "failed")
        ]
        epoch = f"{row['epoch']:.0f}" + ("" if row["converged"] else " !")
        spent = [str(trials["epochs"].sum()), f"{trials['seconds'].sum():.0f}"]
        value = f"{100 * row['value']:.2f}"
        lines.append(
            [
                row["dataset"],
                row["sampler"],
                str(row["trials"]),
                *counts,
                *spent,
                row["setting"],
                value,
                epoch,
            ]
        )
    header = ["dataset", "sampler", "trials", "complete", "pruned", "failed", "epochs", "seconds"]
    title = f"best by validation {plan.monitor}; {plan.settings['algorithm']}"
    print_table(title, [*header, "best setting", "percent", "epoch"], lines)
    if said:
        print(f"Would more tuning of {plan.baseline} have closed the gap?")
    for sentence in said:
        print(f"- {sentence}")
