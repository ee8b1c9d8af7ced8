"""`hapens archive`: finished runs as a few small files that outlive their machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hapens_bench.analysis.formats import Line, print_table
from hapens_bench.analysis.query import finished, narrow, parse_where
from hapens_bench.analysis.tables.definition import cells, read_definition
from hapens_bench.config.paths import shipped_archive
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import planned
from hapens_bench.runs.archive import Archive, ArchivedRun, archives_below, open_archive, summaries
from hapens_bench.runs.archiving import add, merge, to_folder
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load
from hapens_bench.runs.lock import RunBusy

MB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, text: str, run: Any, **positional: Any) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=text)
        one.set_defaults(run=run)
        for argument, options in positional.items():
            one.add_argument(argument, **options)
        return one

    place: dict[str, Any] = {"help": "an archive: its folder, or its name in results/archive"}
    one = action("add", "pack finished runs into an archive", run_add, archive=place)
    one.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    _add_filters(one)
    several = {"nargs": "?", "default": str(shipped_archive()), **place}
    action("list", "print a line for each archive, data set and sampler", run_list, archive=several)
    one = action("show", "print a line for each archived run", run_show, archive=place)
    one.add_argument("--where", nargs="*", default=[], metavar="KEY=VALUE")
    one = action("verify", "check every number of an archive", run_verify, archive=several)
    one.add_argument("--retrain", type=int, default=0, metavar="N", help="train N runs again")
    one.add_argument("--seed", type=int, default=0, help="of the choice of these N (default: 0)")
    one = action(
        "merge",
        "put archives together in a new or old one",
        run_merge,
        sources={"nargs": "+", "type": Path},
    )
    one.add_argument("--into", type=Path, required=True, metavar="DIR")
    one = action("extract", "write run folders from archived runs", run_extract, archive=place)
    one.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    _add_filters(one)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--where", nargs="*", default=[], metavar="KEY=VALUE", help="such as dataset=tools seed=0,1"
    )
    parser.add_argument("--table", help="only the runs of a table of conf/table")
    parser.add_argument("--experiment", help="only the runs of an experiment of conf/experiment")


def place_of(name: str) -> Path:
    """Return the folder of an archive named by its path or by its name in results/archive."""
    path = Path(name)
    return path if len(path.parts) > 1 or path.is_dir() else shipped_archive() / name


def run_add(arguments: argparse.Namespace) -> int:
    """Archive finished runs; return 1 if some cannot be."""
    ledger = load(arguments.runs)
    for reason in ledger.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    runs = filtered(ledger.runs, arguments)
    try:
        added = add([RunFolder(Path(run["folder"])) for run in runs], place_of(arguments.archive))
    except RunBusy:
        raise UserError(f"another process writes to {place_of(arguments.archive)}") from None
    for refused in added.refused:
        print(f"not archived: {refused}", file=sys.stderr)
    print(
        f"{len(added.new)} runs added, {len(added.known)} were there; "
        f"{describe(open_archive(place_of(arguments.archive)))}"
    )
    return 1 if added.refused else 0


def filtered(
    runs: Sequence[dict[str, Any]], arguments: argparse.Namespace
) -> Sequence[dict[str, Any]]:
    """Return the runs that --where, --table and --experiment leave.

    Raises:
        UserError: when none is left, or there is no such table or experiment.
    """
    if arguments.table:
        ids = {cell.config_id for cell in cells(read_definition(arguments.table))}
        runs = [run for run in runs if run["config_id"] in ids]
    if arguments.experiment:
        trials = planned(arguments.experiment, arguments.runs)
        names = {trial.job.folder.path.name for trial in trials}
        runs = [run for run in runs if run["run_id"] in names]
    if not runs:
        raise UserError("there is no such finished run")
    where = parse_where(arguments.where)
    kept = {run.summary["run_id"] for run in narrow(finished(runs), where)} if where else None
    return [run for run in runs if kept is None or run["run_id"] in kept]


def describe(archive: Archive) -> str:
    """Return in words how many runs an archive has, and its size."""
    files = len(list(archive.path.glob("*.parquet")))
    size = archive.n_bytes / MB
    return f"{archive.path}: {len(archive.rows)} runs, {files} files, {size:.2f} MB"


def opened(name: str) -> list[Archive]:
    """Return the archives of a folder; what is wrong with them is printed.

    Raises:
        UserError: when there is none.
    """
    found = archives_below(place_of(name))
    if not found:
        raise UserError(f"there is no archive in {place_of(name)}")
    for archive in found:
        for what in (*archive.skipped, *archive.conflicts):
            print(f"skipped {what}", file=sys.stderr)
    return found


def run_list(arguments: argparse.Namespace) -> int:
    """Print each archive, and how many runs it has of what."""
    for archive in opened(arguments.archive):
        print(describe(archive))
        keys = ("dataset", "model", "protocol", "sampler")
        settings: dict[tuple[str, ...], list[str]] = {}
        for row in archive.rows.values():
            names = tuple(row.summary[key] for key in keys)
            settings.setdefault(names, []).append(row.summary["config_id"])
        lines: list[Line] = [
            [*names, str(len(set(own))), str(len(own))] for names, own in sorted(settings.items())
        ]
        print_table("", [*keys, "settings", "runs"], lines)
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print the archived runs with their origin."""
    for archive in opened(arguments.archive):
        listed = summaries([archive])
        if arguments.where:
            passing = narrow(finished(listed), parse_where(arguments.where))
            listed = [dict(run.summary) for run in passing]
        lines: list[Line] = []
        for run in listed:
            names = [run[key] for key in ("run_id", "dataset", "model", "sampler")]
            versions = run.get("versions") or {}
            origin = [run["git_sha"][:10], versions.get("torch", ""), run.get("device", "")]
            seconds = f"{run.get('train_seconds') or 0:.0f}"
            lines.append([*names, str(run["seed"]), *map(str, origin), run["data_hash"], seconds])
        header = ["run", "dataset", "model", "sampler", "seed", "commit", "torch", "device"]
        print(describe(archive))
        print_table("", [*header, "data", "seconds"], lines)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Check archives and train some of their runs again; return 1 if anything is wrong."""
    from hapens_bench.analysis.reproduction import compared, retrained, verified

    archives = opened(arguments.archive)
    wrong = [what for archive in archives for what in (*archive.skipped, *archive.conflicts)]
    n = 0
    for archive in archives:
        for row in archive.rows.values():
            n += 1
            wrong += verified(archive, row)
    for what in wrong:
        print(what)
    print(f"{n} runs: every metric computed again from ranks; {len(wrong)} faults")
    if not arguments.retrain:
        return 1 if wrong else 0
    pairs = retrained(archives, arguments.retrain, arguments.seed)
    table = compared(pairs, archives)
    lines: list[Line] = [
        [row["metric"], f"{row['largest']:.4f}", f"{row['allowed']:.4f}", str(row["beyond"])]
        for row in table
    ]
    title = f"{len(pairs)} runs trained again: differences in percentage points"
    print_table(title, ["metric", "largest", "another CPU may give", "runs beyond"], lines)
    return 1 if wrong or any(row["beyond"] for row in table) else 0


def run_merge(arguments: argparse.Namespace) -> int:
    """Put archives together."""
    for source in arguments.sources:
        if not archives_below(source):
            raise UserError(f"there is no archive in {source}")
    archive = merge(arguments.sources, arguments.into)
    print(describe(archive))
    for what in archive.conflicts:
        print(what, file=sys.stderr)
    return 0


def run_extract(arguments: argparse.Namespace) -> int:
    """Write run folders."""
    written = 0
    for archive in opened(arguments.archive):
        for one in filtered(summaries([archive]), arguments):
            to_folder(ArchivedRun(archive, archive.rows[one["run_id"]]), arguments.runs)
            written += 1
    print(f"{written} run folders below {arguments.runs}")
    return 0
