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

NAMED = ("dataset", "model", "sampler", "seed")  # overrides that are not part of a setting's name


def show_results(jobs: Sequence[Job], console: Console) -> None:
    """Print mean and standard deviation over seeds of every setting, by selection."""
    rows, summaries = [], []
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    for job in jobs:
        if job.state != "done":
            continue
        summary, config = job.folder.read_summary(), job.config
        summaries.append(summary)
        varied = [o for o in job.overrides if o not in common and o.split("=")[0] not in NAMED]
        for selection, report in summary["selection"].items():
            row = {
                "id": config_id(config),
                "dataset": summary["dataset"],
                "model": summary["model"],
            }
            row |= {
                "sampler": summary["sampler"],
                "setting": " ".join(o.split(".", 1)[-1] for o in varied),
                "selection": selection,
            }
            row |= {
                metric: 100 * report["test"][metric] for metric in config["protocol"]["metrics"][:3]
            }
            rows.append(row | {"epoch": report["epoch"]})
    if not rows:
        return
    frame = pd.DataFrame(rows)
    keys = ["id", "dataset", "model", "sampler", "setting", "selection"]
    title = "test metrics in percent, mean ± standard deviation over seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [k for k in keys[1:] if frame[k].nunique() > 1 or k in ("sampler", "selection")]
    metrics = [c for c in frame.columns if c not in (*keys, "epoch")]
    for column in (*shown, "n", *metrics, "epoch"):
        table.add_column(
            column,
            justify="left" if column in keys else "right",
            overflow="fold",
            no_wrap=column != "setting",
            min_width=9 if column == "setting" else None,
        )
    for group, runs in frame.groupby(keys, sort=False):
        named = dict(zip(keys, group, strict=True))
        cells = [
            f"{runs[m].mean():.2f}" + (f" ± {runs[m].std():.2f}" if len(runs) > 1 else "")
            for m in metrics
        ]
        epochs = sorted(set(runs["epoch"]))
        span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]}–{epochs[-1]}"
        table.add_row(*[str(named[k]) for k in shown], str(len(runs)), *cells, span)
    console.print(table)
    for line in uncaptured(summaries):
        console.print(line, highlight=False, markup=False)


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
        console.print(
            f"{job.state}: {job.reason}\n    {job.command}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
