"""The search: the batches of all studies are trained together, and optuna is told the outcomes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import Planned
from hapens_bench.launch.job import Job, prepare
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.launch.swept import enter
from hapens_bench.termination import listening
from hapens_bench.tracking.naming import label
from hapens_bench.training.trial import curve, first_below
from hapens_bench.tune.journal import open_journal
from hapens_bench.tune.plan import Plan
from hapens_bench.tune.study import OVER, Asked, Outcome, Study

SETTING = re.compile(r" (?=[\w.]+=)")  # between the overrides of a setting


@dataclass
class Entry:
    """A trial of a batch: its study, its proposal, and its job for each seed."""

    study: Study
    asked: Asked
    jobs: list[Job]


def search(plan: Plan, console: Console) -> pd.DataFrame:
    """Use up the budget of every study, resuming where an earlier command stopped.

    Return the trials, a row each. Every study gets exactly `n_trials` trials, pruned and failed
    ones included. All settings known in advance are checked before any training.

    Raises:
        UserError: when a trial cannot be trained, or another process holds the journal or some of
            the runs.
    """
    with listening(), open_journal(plan.journal) as storage:
        studies = [Study(plan, study, storage) for study in plan.studies]
        ahead = [
            (study.spec, n)
            for study in studies
            for n in range(len(study.trials()), len(study.spec.fixed))
        ]
        prepare([own.planned(n, own.fixed[n], 1)[0].job for own, n in ahead if n < plan.n_trials])
        while batch := [(study, asked) for study in studies for asked in study.ask_batch()]:
            train_batch(plan, batch, console)
        return pd.concat([rows(study) for study in studies], ignore_index=True)


def train_batch(plan: Plan, batch: Sequence[tuple[Study, Asked]], console: Console) -> None:
    """Train a batch of every study and tell optuna how its trials ended.

    With a pruner the first seed of each setting is trained first; only settings that survive it get
    the other seeds.
    """
    seeds = plan.settings["seeds"]
    entries = [
        Entry(
            study,
            asked,
            [trial.job for trial in study.spec.planned(asked.trial.number, asked.setting, seeds)],
        )
        for study, asked in batch
    ]
    floors = {
        study: study.floor([entry.asked for entry in entries if entry.study is study])
        for study, _ in batch
    }
    for entry in entries:
        entry.jobs[0].floor = floors[entry.study]
    waves = [slice(0, 1), slice(1, None)] if any(floors.values()) else [slice(0, None)]
    for wave in waves:
        jobs = [
            job
            for entry in entries
            if entry.jobs[0].state in ("to run", "done")
            for job in entry.jobs[wave]
        ]
        if jobs:
            prepare(jobs)
            enter_search(plan, entries)
            train_jobs(jobs, on_devices(), console)
    busy = [job for entry in entries for job in entry.jobs if job.state == "busy"]
    for entry in entries:
        if not any(job.state == "busy" for job in entry.jobs):
            entry.study.tell(entry.asked, outcome(entry.jobs))
    for study in floors:
        console.print(progress(study))
    if busy:
        raise UserError(
            f"{len(busy)} trials are being trained by another process; "
            "type the command again when it is done"
        )


def enter_search(plan: Plan, entries: Sequence[Entry]) -> None:
    """Enter the search into the jobs' configs, as the sweep that tells its runs apart."""
    keys = {label(entry.jobs[0].config): list(entry.study.spec.space) for entry in entries}
    for entry in entries:
        for job in entry.jobs:
            enter(job, {"id": plan.name, "keys": keys})


def outcome(jobs: Sequence[Job]) -> Outcome:
    """Return how a trial ended, from its run folders: never by a test metric."""
    monitor = jobs[0].config["protocol"]["monitor"]
    facts: dict[str, Any] = {"run_ids": [job.folder.path.name for job in jobs]}
    facts["seeds"] = [job.config["seed"] for job in jobs]
    failed = [job for job in jobs if job.state == "failed"]
    if failed:
        return Outcome(
            "failed", facts=facts | {"reason": failed[0].reason, "command": failed[0].command}
        )
    trained = [job for job in jobs if job.state in ("done", "pruned")]
    histories = [job.folder.read_frame("history") for job in trained]
    facts["epochs"] = sum(map(len, histories))
    facts["seconds"] = float(
        sum((frame["seconds"] / frame["pack_size"]).sum() for frame in histories)
    )
    best_by_epoch = curve(histories[0].to_dict("records"), monitor)
    if jobs[0].state == "pruned":
        below = first_below(histories[0].to_dict("records"), monitor, jobs[0].floor)
        assert below is not None
        kept = {epoch: value for epoch, value in best_by_epoch.items() if epoch <= below[0]}
        return Outcome("pruned", below[1], kept, facts | {"epoch": below[0], "converged": False})
    reports = [job.folder.read_summary()["selection"]["valid"] for job in jobs]
    facts |= {
        "epoch": reports[0]["epoch"],
        "converged": all(report["converged"] for report in reports),
    }
    scores = [job.objective() for job in jobs]
    assert None not in scores
    return Outcome(
        "complete",
        float(sum(x for x in scores if x is not None)) / len(scores),
        best_by_epoch,
        facts,
    )


def rows(study: Study) -> pd.DataFrame:
    """Tabulate the finished trials of a study, with the columns of `choose.outcomes` and more."""
    finished = []
    for trial in study.trials():
        if trial.state not in OVER:
            continue
        facts = trial.user_attrs
        finished.append(
            {
                "dataset": study.spec.dataset,
                "sampler": study.spec.sampler,
                "trial": trial.number,
                "setting": " ".join(study.setting(trial)),
                "value": facts["reached"],
                "epoch": facts.get("epoch"),
                "converged": facts.get("converged"),
                "run_id": facts["run_ids"][0],
                "run_ids": facts["run_ids"],
                "seeds": " ".join(map(str, facts["seeds"])),
                "state": {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[
                    trial.state.name
                ],
                "epochs": facts.get("epochs", 0),
                "seconds": facts.get("seconds", 0.0),
                "reason": facts.get("reason", ""),
                "command": facts.get("command", ""),
            }
        )
    return pd.DataFrame(finished)


def progress(study: Study) -> str:
    """Return a line on the progress of a study."""
    frame = rows(study)
    done = f"{len(frame)} of {study.plan.n_trials} trials"
    text = f"{study.spec.sampler} on {study.spec.dataset}: {done}"
    if frame.empty:
        return text
    counts = ", ".join(f"{n} {state}" for state, n in frame["state"].value_counts().items())
    values = frame.loc[frame["state"] == "complete", ["trial", "value"]].astype({"value": float})
    if values.empty:
        return f"{text} ({counts})"
    value, trial = max(zip(values["value"], -values["trial"], strict=True))
    return f"{text} ({counts}); the best so far {100 * value:.2f} (trial {-trial})"


def chosen(plan: Plan, row: Any) -> Planned:
    """Compose the trial of a row again."""
    study = next(
        s for s in plan.studies if (s.dataset, s.sampler) == (row["dataset"], row["sampler"])
    )
    return study.planned(row["trial"], SETTING.split(row["setting"]), 1)[0]
