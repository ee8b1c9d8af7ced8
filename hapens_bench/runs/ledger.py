"""All run folders as one table; an index makes reading thousands of them again fast."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.runs.archive import archives_below, open_run, summaries
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.summary import OF_A_RUN, check_summary, without_overall

INDEX = ".ledger.json"
COLUMNS = [
    *OF_A_RUN,
    "selection",
    "epoch",
    "converged",
    "metric",
    "value",
    "validation",
    "data_hash",
    "git_sha",
    "folder",
]


@dataclass(frozen=True)
class Ledger:
    """The runs below a folder.

    `runs` are the summaries of finished runs, each with its `folder`. `unfinished` has the folder,
    state (running, failed, pruned), reason and time of the others. `skipped` names the runs that
    could not be read, and why.
    """

    runs: list[dict[str, Any]]
    unfinished: list[dict[str, Any]]
    skipped: list[str]

    def frame(self) -> pd.DataFrame:
        """Return a row for each finished run, selection and metric.

        Values are fractions, as in summary.json.
        """
        rows = [
            {
                **{
                    key: run.get(key)
                    for key in (*OF_A_RUN, "validation", "data_hash", "git_sha", "folder")
                },
                "selection": selection,
                "epoch": report["epoch"],
                "converged": report["converged"],
                "metric": metric,
                "value": value,
            }
            for run in self.runs
            for selection, report in run["selection"].items()
            for metric, value in report["test"].items()
        ]
        return pd.DataFrame(rows, columns=COLUMNS)


def load(root: Path | None, archive: Path | None = None) -> Ledger:
    """Return the ledger of all run folders <dataset>/<model>/<sampler>/<run_id> below `root`.

    None: no run folders. The runs of the archives in the folder `archive` are added. A run in both
    counts once, with the results of its run folder; where the archive has others, `skipped` says
    so.

    The index <root>/.ledger.json keeps what was read, with the inode, size and time of its files.
    Run files are only ever replaced whole, so an entry is valid as long as nothing has changed. An
    index that cannot be read or written only costs time.
    """
    read, skipped = _read_folders(root) if root is not None else ([], [])
    runs = [{**entry["summary"], "folder": folder} for folder, entry in read if entry["summary"]]
    unfinished = [
        {**entry["status"], "folder": folder} for folder, entry in read if not entry["summary"]
    ]
    if archive is not None:
        skipped += _add_archived(runs, archive)
    return Ledger(runs, unfinished, skipped)


def _read_folders(root: Path) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Return each run folder with its entry of the index, and what had to be skipped."""
    known = _read_index(root / INDEX)
    entries: dict[str, dict[str, Any]] = {}
    skipped = []
    for path in _folders(root):
        name = str(path.relative_to(root))
        stamp = _stamp(path)
        entry = known.get(name)
        if entry is None or entry["stamp"] != stamp:
            try:
                entry = {"stamp": stamp, **_read(path)}
            except DamagedRun as error:
                skipped.append(f"{path}: {error}")
                continue
        entries[name] = entry
    if entries != known:
        _write_index(root / INDEX, entries)
    return [(str(root / name), entry) for name, entry in entries.items()], skipped


def _add_archived(runs: list[dict[str, Any]], archive: Path) -> list[str]:
    """Add archived runs; return notes on what cannot be read and on results that differ."""
    here = {run["run_id"]: run for run in runs}
    archives, notes = archives_below(archive), []
    for run in summaries(archives):
        known = here.get(run["run_id"])
        if known is None:
            runs.append(run)
        elif without_overall(known["selection"]) != without_overall(run["selection"]):
            notes.append(
                f"the archived results of run {run['run_id']}: those in {known['folder']} differ, "
                "and they count"
            )
    return [*(what for one in archives for what in (*one.skipped, *one.conflicts)), *notes]


def epochs(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the histories of runs as one table, one row per epoch.

    Each row has the run's id, data set, model, sampler and seed.
    """
    return _together(runs, "history")


def users(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the per-user test metrics of runs, one row per run, selection and user."""
    return _together(runs, "users")


def _together(runs: Sequence[dict[str, Any]], name: str) -> pd.DataFrame:
    frames = [
        open_run(run["folder"]).read_frame(name).assign(**{key: run[key] for key in OF_A_RUN})
        for run in runs
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=OF_A_RUN)


def _read(path: Path) -> dict[str, Any]:
    folder = RunFolder(path)
    status = folder.read_status()
    if status is None or status.get("state") not in ("done", "running", "failed", "pruned"):
        raise DamagedRun(f"status.json says {status and status.get('state')!r}")
    if status["state"] != "done":
        return {"status": status, "summary": None}
    summary = folder.read_summary()
    check_summary(summary)
    return {"status": status, "summary": summary}


def _stamp(path: Path) -> list[list[int]]:
    """Return inode, size and time of the two files of an entry; zeros where one is missing."""
    stamps = []
    for name in ("status.json", "summary.json"):
        try:
            stat = os.stat(path / name)
            stamps.append([stat.st_ino, stat.st_size, stat.st_mtime_ns])
        except OSError:
            stamps.append([0, 0, 0])
    return stamps


def _folders(root: Path) -> Iterator[Path]:
    """Return the run folders in a stable order."""
    return (path.parent for path in sorted(root.glob("*/*/*/*/status.json")))


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        whole = all({"stamp", "status", "summary"} <= set(entry) for entry in entries.values())
        return entries if whole else {}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_index(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        os.replace(temporary, path)
