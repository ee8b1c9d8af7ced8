"""What a sweep prints at its end: results and failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from hapens_bench.config.identity import config_id
from hapens_bench.launch.job import Job
from hapens_bench.tracking.screen import NOT_CONVERGED

NAMED = ("dataset", "model", "sampler", "seed")  # overrides that are not part of a setting's name
KEYS = ["id", "dataset", "model", "sampler", "setting", "selection"]


def show_results(jobs: Sequence[Job], console: Console) -> None:
    """Print mean and standard deviation over seeds of every setting, by selection.

    No two of the jobs are the same trial.
    """
    done = [job for job in jobs if job.state == "done"]
    if not done:
        return
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    frame = pd.DataFrame([row for job in done for row in _rows(job, common)])
    title = "test metrics in percent, mean ± standard deviation over seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [k for k in KEYS[1:] if frame[k].nunique() > 1 or k in ("sampler", "selection")]
    metrics = [c for c in frame.columns if c not in (*KEYS, "epoch", "converged", "before")]
    before = [""] if frame["before"].any() else []
    for column in (*shown, "n", *metrics, "epoch", *before):
        table.add_column(
            column,
            justify="left" if column in (*KEYS, "") else "right",
            overflow="fold",
            no_wrap=column != "setting",
            min_width=9 if column == "setting" else None,
        )
    for group, runs in frame.groupby(KEYS, sort=False):
        named = dict(zip(KEYS, group, strict=True))
        table.add_row(
            *(str(named[key]) for key in shown),
            str(len(runs)),
            *(_mean(runs[metric].dropna()) for metric in metrics),
            _epochs(runs),
            *(_before(runs) for _ in before),
        )
    console.print(table)
    if not frame["converged"].all():
        console.print(NOT_CONVERGED)
    for line in uncaptured([job.folder.read_summary() for job in done]):
        console.print(line)


def _rows(job: Job, common: set[str]) -> list[dict[str, Any]]:
    """Return a row for each selection of a finished job."""
    summary, config = job.folder.read_summary(), job.config
    varied = [o for o in job.overrides if o not in common and o.split("=")[0] not in NAMED]
    names = {key: summary[key] for key in ("dataset", "model", "sampler")}
    setting = " ".join(o.split(".", 1)[-1] for o in varied)
    return [
        {"id": config_id(config), **names, "setting": setting, "selection": selection}
        | {metric: 100 * report["test"][metric] for metric in config["protocol"]["metrics"][:3]}
        | {"epoch": report["epoch"], "converged": report["converged"], "before": job.before}
        for selection, report in summary["selection"].items()
    ]


def _mean(values: pd.Series[float]) -> str:
    """Return mean and deviation, or a dash where the metric was not measured."""
    if values.empty:
        return "–"
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")


def _epochs(runs: pd.DataFrame) -> str:
    epochs = sorted(set(runs["epoch"]))
    span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]}–{epochs[-1]}"
    return span + ("" if runs["converged"].all() else " !")


def _before(runs: pd.DataFrame) -> str:
    n = runs["before"].sum()
    if not n:
        return ""
    return "already done" if n == len(runs) else f"{n} of {len(runs)} already done"


def uncaptured(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each sampler and reason why steps were not captured on a GPU."""
    reasons: dict[tuple[str, str], int] = {}
    for summary in summaries:
        if summary.get("uncaptured"):
            key = summary["sampler"], summary["uncaptured"]
            reasons[key] = reasons.get(key, 0) + 1
    return [
        f"{n} runs of {sampler} were not captured on a GPU, so they took longer: {reason}"
        for (sampler, reason), n in sorted(reasons.items())
    ]


def show_failures(jobs: Sequence[Job], console: Console) -> None:
    """Print the jobs that are not done, why, and the command that runs each again."""
    missing = [job for job in jobs if job.state != "done"]
    if not missing:
        return
    console.print(f"\n{len(missing)} of {len(jobs)} jobs are not done; to run them again:")
    for job in missing:
        console.print(f"{job.state}: {job.reason}\n    {job.command}", soft_wrap=True)
