"""Remake every table and figure of results/ from the shipped archives.

    make tables

A table's cells without an archived run show the numbers of lost runs (results/lost/), marked as
such. A figure is drawn again once all of its trials are archived; until then it stays as it is.
results/README.md says which is which, and results/leaderboard.html shows every archived run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from hapens_bench.analysis.figures.definition import read_definition as read_figure
from hapens_bench.analysis.figures.definition import write_figure
from hapens_bench.analysis.formats import to_markdown
from hapens_bench.analysis.report.page import write_report
from hapens_bench.analysis.tables.activity import write_activity
from hapens_bench.analysis.tables.definition import read_definition as read_table
from hapens_bench.analysis.tables.paper import write_table
from hapens_bench.config.paths import conf_dir, shipped_archive
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import planned
from hapens_bench.runs.archive import archives_below
from hapens_bench.runs.ledger import load

RESULTS = conf_dir().parent / "results"
NOWHERE = Path("/nowhere")  # no run folders: only archives count


def names(group: str) -> list[str]:
    """Return the names of the files of a folder of conf."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def tables() -> Iterator[list[str]]:
    """Write all tables; yield a line of the index for each."""
    ledger = load(None, shipped_archive())
    for what in ledger.skipped:
        print(f"skipped {what}")
    for name in names("table"):
        definition = read_table(name)
        size = len(definition["datasets"]) * len(definition["samplers"])
        try:
            written = write_table(name, ledger.runs, RESULTS / "tables", lost=True)
        except UserError:
            yield [name, "table", f"0 of {size} cells", "not run yet"]
            continue
        full = sum(bool(cell.runs) for cell in written.filled)
        seeds = sorted({len(cell.runs) for cell in written.filled if cell.runs})
        rest = "not run yet"
        if (RESULTS / "lost" / f"{name}.md").exists():
            rest = f"[lost runs](lost/{name}.md), or not run yet"
        has = f"{full} of {size} cells" + (f", n = {', '.join(map(str, seeds))}" if seeds else "")
        yield [f"[{name}](tables/{name}.md)", "table", has, "–" if full == size else rest]
        again = (RESULTS / "tables" / f"{name}_activity.csv").exists()
        if again or (full == size and (RESULTS / "lost" / f"{name}_activity.csv").exists()):
            write_activity(name, definition, written.filled, RESULTS / "tables")


def figures() -> Iterator[list[str]]:
    """Draw the figures whose trials are all archived, and those of tables; yield their lines."""
    for name in names("figure"):
        definition = read_figure(name)
        experiment, table = definition.get("experiment"), definition.get("table")
        if not (experiment or table) or not (RESULTS / "figures" / f"{name}.csv").exists():
            continue
        if table:
            write_figure(name, NOWHERE, RESULTS / "figures", archive=shipped_archive())
            yield [f"[{name}](figures/{name}.svg)", "figure", f"the runs of {table}", "–"]
            continue
        jobs = [trial.job for trial in planned(experiment, NOWHERE, archive=shipped_archive())]
        here = sum(job.archived for job in jobs)
        if here == len(jobs):
            write_figure(name, NOWHERE, RESULTS / "figures", archive=shipped_archive())
        lost = "–" if here == len(jobs) else "drawn from lost runs: not in the archive"
        yield [f"[{name}](figures/{name}.svg)", "figure", f"{here} of {len(jobs)} trials", lost]


def sizes() -> Iterator[str]:
    """Yield a line for each archive."""
    for archive in archives_below(shipped_archive()):
        size = f"{archive.n_bytes / 2**20:.1f} MB"
        yield f"- `archive/{archive.path.name}`: {len(archive.rows)} runs, {size}"


def main() -> None:
    """Remake everything and print how long it took."""
    begun = time.monotonic()
    lines = [*tables(), *figures()]
    write_report(Path("results/archive"), RESULTS / "leaderboard.html", shipped_archive())
    below = [
        "`make tables` remakes all of this from the archives:",
        "",
        *sizes(),
        "",
        "Pictures of `scripts/hapens/` and of `scripts/bench/` have their provenance beside them.",
    ]
    header = ["result", "kind", "in the archive", "the rest"]
    text = to_markdown("Results, and what is behind them", header, lines, below)
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    print(f"{len(lines)} tables and figures in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
