"""Where a table's cells come from: run folders, archives, or runs that are lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hapens_bench.analysis.replicates import Run
from hapens_bench.analysis.tables.definition import Cell
from hapens_bench.config.paths import conf_dir

LOST = "not in the archive"
LOST_NOTE = (
    f"Cells that say *{LOST}* are of runs that were lost before runs were archived: nobody can "
    "check them. They are not marked as best and take part in no test; `results/lost/` has the "
    "whole table as it was made from them."
)


def source(runs: Sequence[Run]) -> str:
    """Return which archives hold runs, `run folders` for those in none, joined by `+`."""
    return " + ".join(sorted({run.get("archive") or "run folders" for run in runs}))


def commits(runs: Sequence[Run]) -> int:
    """Return how many commits runs were trained at."""
    return len({run["git_sha"] for run in runs})


def lost_dir() -> Path:
    """Return the folder with the tables of lost runs."""
    return conf_dir().parent / "results" / "lost"


def lost_rows(name: str, filled: Sequence[Cell]) -> pd.DataFrame:
    """Return the rows of a long table of lost runs, for the cells that have no run.

    Only rows whose lost runs had a cell's settings (config id) are returned.
    """
    try:
        rows = pd.read_csv(lost_dir() / f"{name}.csv")
        record = json.loads((lost_dir() / f"{name}.provenance.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return pd.DataFrame()
    known = {run["config_id"] for run in record["runs"]}
    empty = {
        (cell.dataset, cell.sampler) for cell in filled if not cell.runs and cell.config_id in known
    }
    places = zip(rows["dataset"], rows["sampler"], strict=True)
    kept = rows[[place in empty for place in places]]
    return kept.assign(source=LOST, commits=float("nan"))
