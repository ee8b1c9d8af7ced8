"""The runs behind a table, as the lines of a figure: a line for each of its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hapens_bench.analysis.figures.lines import Line
from hapens_bench.analysis.query import Finished, Where, finished, narrow
from hapens_bench.analysis.tables.definition import fill, read_definition
from hapens_bench.errors import UserError
from hapens_bench.runs.ledger import load

Methods = Mapping[str, str]  # what a table calls the method of a run, by run id


def from_table(
    name: str, runs: Path, where: Where, archive: Path | None = None
) -> tuple[list[Finished], list[str], Methods]:
    """Return the finished runs of a table that pass the filter, notes, and their methods.

    Raises:
        UserError: when there is no such table, or no finished run of it.
    """
    ledger = load(runs, archive)
    filled = fill(read_definition(name), ledger.runs)
    methods = {run["run_id"]: cell.sampler for cell in filled for run in cell.runs}
    done = finished([run for cell in filled for run in cell.runs])
    if not done:
        raise UserError(f"no finished run belongs to table {name!r}")
    empty = sum(not cell.runs for cell in filled)
    notes = [f"{empty} of {len(filled)} cells of the table have no run"] if empty else []
    return narrow(done, where), [*(f"skipped {what}" for what in ledger.skipped), *notes], methods


def by_method(runs: Sequence[Finished], methods: Methods) -> list[Line]:
    """Group runs by data set and method.

    The model is not told apart, because a table's baselines without negatives are models.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Finished]] = {}
    for run in runs:
        place = (run.summary["dataset"], "", run.summary["protocol"])
        groups.setdefault((place, methods[run.summary["run_id"]]), []).append(run)
    return [Line(place, method, "", members) for (place, method), members in groups.items()]
