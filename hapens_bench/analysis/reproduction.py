"""Whether archived numbers hold: computed again from ranks, and trained again."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hapens_bench.analysis.rerun import overrides
from hapens_bench.config.compose import compose_config
from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.job import Job, prepare
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.runs.archive import Archive, ArchivedRun, Row
from hapens_bench.runs.files import DamagedRun
from hapens_bench.termination import listening
from hapens_bench.tracking.screen import screen

# Training amplifies the last bits in which two CPUs differ, so a run of another CPU may end as far
# away as one of another seed does: by at most this many standard deviations over seeds.
DEVIATIONS = 3.0


def verified(archive: Archive, row: Row) -> list[str]:
    """Compute a run's metrics again from its ranks; return what differs from its summary."""
    wrong = []
    try:
        users = ArchivedRun(archive, row).read_frame("users")
        archive.table("epochs", row)
    except DamagedRun as error:
        return [f"{archive.path}: {error}"]
    for selection, report in row.summary["selection"].items():
        own = users[users["selection"] == selection]
        for metric, value in report["test"].items():
            if metric not in own:
                continue
            again = float(torch.tensor(own[metric].to_numpy()).mean())
            if value is not None and again != value:
                wrong.append(
                    f"{archive.path}: run {row.run_id} says {metric} = {value} under {selection}, "
                    f"but its ranks give {again}"
                )
    return wrong


def retrained(
    archives: Sequence[Archive], n: int, seed: int
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Train n archived runs again, chosen at random; return the summaries before and after.

    Raises:
        UserError: when a run cannot be trained here. TrialFailed: when one failed.
    """
    rows = {name: row for archive in archives for name, row in archive.rows.items()}
    picked = random.Random(seed).sample(sorted(rows), min(n, len(rows)))
    console = screen(stderr=True)
    with tempfile.TemporaryDirectory(prefix="hapens-retrain-") as folder:
        runs = Path(folder)
        jobs = []
        for name in picked:
            config = rows[name].read_config()
            words = [*overrides(config), f"seed={config['seed']}"]
            full = [*words, f"paths.runs={hydra_value(runs)}", "archive=ignore"]
            jobs.append(Job(compose_config(full), full))
            if (found := jobs[-1].folder.path.name) != name:
                raise UserError(f"run {name} composes to run {found} here: the defaults changed")
        prepare(jobs)
        with listening():
            train_jobs(jobs, on_devices(), console)
        for job in jobs:
            if job.state != "done":
                raise TrialFailed(f"{job.command} {job.state}: {job.reason}")
        again = [job.folder.read_summary() for job in jobs]
    return [(rows[name].summary, new) for name, new in zip(picked, again, strict=True)]


def compared(
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], archives: Sequence[Archive]
) -> list[dict[str, Any]]:
    """Return for each metric the largest difference, and in how many runs it is too large.

    What is allowed is `DEVIATIONS` standard deviations over the archived seeds of the setting; with
    fewer than three seeds of it, over those of the archive's other settings at the median. All in
    percentage points.
    """
    runs = [row.summary for archive in archives for row in archive.rows.values()]
    spreads = _spreads(runs)
    rows = []
    for old, new in pairs:
        for selection, report in old["selection"].items():
            for metric, value in report["test"].items():
                key = (old["config_id"], selection, metric)
                typical = spreads[spreads.index.get_level_values("metric") == metric].median()
                deviation = spreads.get(key, np.nan)
                allowed = DEVIATIONS * (typical if np.isnan(deviation) else deviation)
                difference = abs(100 * new["selection"][selection]["test"][metric] - 100 * value)
                rows.append({"metric": metric, "difference": difference, "allowed": allowed})
    frame = pd.DataFrame(rows)
    return [
        {
            "metric": metric,
            "largest": own["difference"].max(),
            "allowed": own["allowed"].iloc[int(own["difference"].argmax())],
            # without any seeds to compare with, only equal numbers will do
            "beyond": int((own["difference"] > own["allowed"].fillna(0)).sum()),
        }
        for metric, own in frame.groupby("metric", sort=False)
    ]


def _spreads(runs: Sequence[dict[str, Any]]) -> pd.Series:
    """Return the standard deviation over seeds by setting, selection and metric, in percent."""
    keys = ["config_id", "selection", "metric"]
    rows = [
        [run["config_id"], selection, metric, 100 * (np.nan if value is None else value)]
        for run in runs
        for selection, report in run["selection"].items()
        for metric, value in report["test"].items()
    ]
    groups = pd.DataFrame(rows, columns=[*keys, "value"]).groupby(keys)["value"]
    return groups.std().where(groups.count() >= 3)
