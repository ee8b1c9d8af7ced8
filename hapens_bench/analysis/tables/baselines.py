"""The rows of a paper's table that an archive fills on a data set, for a new method to join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapens_bench.analysis.replicates import Run
from hapens_bench.analysis.tables.definition import Cell, fill, read_definition
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.runs.archive import archives_below, summaries


@dataclass(frozen=True)
class Baselines:
    """A table on one data set, and those of its cells that have archived runs.

    `search` says how many trials of which experiments chose each method's settings; it is empty
    for a table at the papers' settings.
    """

    table: str
    definition: Mapping[str, Any]
    dataset: str
    cells: Sequence[Cell]

    @property
    def runs(self) -> list[Run]:
        """All archived runs."""
        return [run for cell in self.cells for run in cell.runs]

    @property
    def seeds(self) -> list[int]:
        """The seeds that any of them has."""
        return sorted({run["seed"] for run in self.runs})

    @property
    def search(self) -> Mapping[str, int]:
        """See the class."""
        found: Mapping[str, int] = self.definition.get("budget", {}).get(self.dataset, {})
        return found

    @property
    def selections(self) -> list[str]:
        """What is shown: the honest selection, and the test peak where the table has it."""
        honest = self.definition["honest_selection"]
        peak = [name for name in self.definition["selections"] if name == "test_peak"]
        return list(dict.fromkeys([honest, *peak]))


def find(dataset: str, model: str | None, archive: Path, table: str | None) -> Baselines:
    """Return a table's archived rows: those of `table`, else of the one that has most of them.

    Raises:
        UserError: when there are none; the sentence names what there is.
    """
    runs = summaries(archives_below(archive))
    if table is not None:
        definition = read_definition(table)
        if model not in (None, definition["model"]):
            raise UserError(f"table {table} is of model={definition['model']}, not {model}")
        if dataset not in definition["datasets"]:
            known = ", ".join(definition["datasets"])
            raise UserError(f"table {table} has no data set {dataset!r}; it has {known}")
        found = archived_rows(table, definition, dataset, runs)
        if found.cells:
            return found
    else:
        every = candidates(runs, dataset, model)
        if every:
            return max(every, key=lambda one: (len(one.cells), len(one.runs)))
    wanted = f"table {table}" if table else "a table" + (f" with model={model}" if model else "")
    raise UserError(
        f"{archive} has no runs of {wanted} on {dataset}; it has {described(candidates(runs))}"
    )


def candidates(
    runs: Sequence[Run], dataset: str | None = None, model: str | None = None
) -> list[Baselines]:
    """Return the archived rows of all tables and data sets that have any."""
    found = []
    pairs = {(run["dataset"], run["model"]) for run in runs}
    for path in sorted((conf_dir() / "table").glob("*.yaml")):
        definition = read_definition(path.stem)
        for name in definition["datasets"]:
            asked = dataset in (None, name) and model in (None, definition["model"])
            if asked and (name, definition["model"]) in pairs:
                found.append(archived_rows(path.stem, definition, name, runs))
    return [one for one in found if one.cells]


def archived_rows(
    table: str, definition: Mapping[str, Any], dataset: str, runs: Sequence[Run]
) -> Baselines:
    """Return the cells of a table on one data set that have runs."""
    own = [run for run in runs if run["dataset"] == dataset]
    filled = fill({**definition, "datasets": [dataset]}, own)
    return Baselines(table, definition, dataset, [cell for cell in filled if cell.runs])


def described(found: Sequence[Baselines]) -> str:
    """Return in words which tables and data sets have archived rows."""
    if not found:
        return "none of any table"
    return "; ".join(
        f"{one.table} on {one.dataset} ({len(one.cells)} methods, model={one.definition['model']})"
        for one in found
    )
