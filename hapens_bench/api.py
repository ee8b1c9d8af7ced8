"""The suite from Python: the same sweeps as on the command line, data frames out.

    import hapens_bench as hb

    hb.train("dataset=tools", "sampler=dns")
    hb.sweep("dataset=tools", "sampler=rns,dns", "seed=range(3)")
    hb.results().query("metric == 'Recall@20'").groupby("sampler")["value"].mean()

Mistakes raise `hapens_bench.errors.UserError` with the sentence that the command line prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hapens_bench.config.paths import archive_dir
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.experiments import jobs_of
from hapens_bench.launch.job import Job, prepare
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.launch.swept import mark
from hapens_bench.runs import ledger
from hapens_bench.runs.archive import listed
from hapens_bench.termination import listening
from hapens_bench.tracking.screen import screen


def train(*overrides: str) -> pd.DataFrame:
    """Train one trial, or read it if it is done; return its test metrics, as `results` does.

    Raises:
        UserError: when it cannot be trained, or the overrides are a sweep. TrialFailed: when it
            was trained, and failed.
    """
    jobs = jobs_of(overrides)
    if len(jobs) != 1:
        raise UserError(f"these are {len(jobs)} trials; hapens_bench.sweep trains several")
    return _trained(jobs)


def sweep(*overrides: str) -> pd.DataFrame:
    """Train all trials of a sweep that are not done; return their test metrics, as `results` does.

    Overrides are those of `hapens train -m`, such as `sampler=rns,dns` or `experiment=ahns_fig5`.
    Trials that share a shape train in one pack.

    Raises:
        UserError: when one cannot be trained; nothing has been trained then. TrialFailed: naming
            the trials that failed; the others are finished, and `results` has them.
    """
    return _trained(jobs_of(overrides))


def results(root: str | Path = "runs", archive: str | Path = "shipped") -> pd.DataFrame:
    """Return a row for each finished run, selection and metric; values are fractions.

    The runs below `root` and those of `archive`: `shipped`, `ignore`, or a folder of archives.
    """
    return ledger.load(Path(root), archive_dir(str(archive))).frame()


def epochs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the histories of the runs of a frame, a row for each epoch: loss, metrics, hardness.

    Shape:
        frame: rows of `results`, `train` or `sweep`, however they were filtered.
    """
    return ledger.epochs(_once(frame))


def users(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the test metrics of every user of the runs of a frame, a row for each selection.

    Shape:
        frame: as for `epochs`.
    """
    return ledger.users(_once(frame))


def _once(frame: pd.DataFrame) -> list[dict[str, object]]:
    rows = frame.drop_duplicates("run_id").to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _trained(jobs: Sequence[Job]) -> pd.DataFrame:
    prepare(jobs)
    mark(jobs)
    with listening():
        train_jobs(jobs, on_devices(), screen())
    failed = [f"{job.command} {job.state}: {job.reason}" for job in jobs if job.state != "done"]
    if failed:
        raise TrialFailed("; ".join(failed))
    folders = {job.folder.path: job.folder for job in jobs}
    return ledger.Ledger([listed(folder) for folder in folders.values()], [], []).frame()
