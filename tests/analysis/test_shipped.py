"""What results/ holds is what the shipped archives give."""

import json
from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.analysis.tables.definition import fill, read_definition
from hapens_bench.analysis.tables.origin import LOST, lost_rows
from hapens_bench.analysis.tables.paper import in_order, long_table
from hapens_bench.config.paths import shipped_archive
from hapens_bench.runs.archive import archives_below
from hapens_bench.runs.ledger import load

TABLES = shipped_archive().parent / "tables"
NAMES = sorted(path.stem for path in TABLES.glob("*.md"))
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="a wheel has no results")


@pytest.fixture(scope="module")
def runs():
    return load(None, shipped_archive()).runs


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_table_is_what_the_archive_gives(runs, name):
    definition = read_definition(name)
    filled = fill(definition, runs)
    table = long_table(definition, filled)
    lost = lost_rows(name, filled)
    if len(lost):
        table = in_order(definition, pd.concat([table, lost], ignore_index=True))
    assert table.round(4).to_csv(index=False) == (TABLES / f"{name}.csv").read_text()
    shown = {run["run_id"] for cell in filled for run in cell.runs}
    record = json.loads((TABLES / f"{name}.provenance.json").read_text())
    assert {run["run_id"] for run in record["runs"]} == shown
    assert bool(len(lost)) == (LOST in (TABLES / f"{name}.md").read_text())


def test_the_archives_are_whole_and_small():
    archives = archives_below(shipped_archive())
    assert archives
    for archive in archives:
        assert archive.rows and not archive.skipped and not archive.conflicts
    files = [path for path in Path(shipped_archive()).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60 * 2**20
