"""`hapens table`: print and write a table of the finished runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hapens_bench.analysis.formats import Line, print_table
from hapens_bench.analysis.query import finished, narrow, parse_where
from hapens_bench.analysis.replicates import Run
from hapens_bench.analysis.tables.crosstab import Layout, write_crosstab
from hapens_bench.analysis.tables.paper import Written, write_table
from hapens_bench.cli.folders import add_folders, out_of
from hapens_bench.errors import UserError
from hapens_bench.runs.ledger import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "name", nargs="?", help="table of conf/table, such as ahns_table2; omit it with --rows"
    )
    parser.add_argument("--rows", help="what rows go by: dataset, protocol, model or sampler")
    parser.add_argument(
        "--cols",
        default="dataset,metric",
        help="what columns go by: the same, metric or selection (default: dataset,metric)",
    )
    parser.add_argument(
        "--selection",
        default="valid_refit",
        help="test_peak, valid or valid_refit, or several (default: valid_refit)",
    )
    parser.add_argument(
        "--metrics", default="", help="such as Recall@20,NDCG@20 (default: the first three)"
    )
    parser.add_argument(
        "--where", nargs="*", default=[], metavar="KEY=VALUE", help="with --rows: only these runs"
    )
    parser.add_argument(
        "--activity",
        action="store_true",
        help="with a table of conf/table: also compare its method with the others "
        "among users of few and of many items",
    )
    add_folders(parser, "tables")
    parser.set_defaults(run=run_table)


def run_table(arguments: argparse.Namespace) -> int:
    """Print the table and write its files."""
    ledger, out = load(arguments.runs, arguments.archive), out_of(arguments)
    for reason in ledger.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    if (arguments.name is None) == (arguments.rows is None):
        raise UserError(
            "hapens table takes the name of a paper's table, or --rows for one of your own"
        )
    if arguments.activity and arguments.rows:
        raise UserError("--activity compares the methods of a paper's table; --rows has none")
    if arguments.rows:
        columns, selections, metrics = (
            _split(arguments, name) for name in ("cols", "selection", "metrics")
        )
        layout = Layout(arguments.rows, columns, selections, metrics)
        runs: Sequence[Run] = ledger.runs
        where = parse_where(arguments.where)
        if where:
            runs = [run.summary for run in narrow(finished(runs), where)]
        if "protocol.negatives" not in where:
            runs = without_leaks(runs)
        name = f"{arguments.rows}_by_{'_'.join(columns)}"
        table = write_crosstab(layout, runs, out, name)
        print_table(f"{', '.join(selections)}, percent", table.header, table.lines)
        print(f"written: {out}/{name}.csv, .md, .tex, .provenance.json")
        return 0
    written = write_table(arguments.name, ledger.runs, out, lost=arguments.ship)
    print_table(
        written.definition["title"],
        written.header,
        [line for line in written.lines if line[3] != "0"],
    )
    order = written.orders
    taus = [
        [r["dataset"], r["metric"], r["selection"], str(r["methods"]), f"{r['tau']:+.2f}"]
        for r in order.to_dict("records")
    ]
    print_table("Kendall's tau with the paper's order of the methods", list(order.columns), taus)
    print(f"written: {out}/{arguments.name}.csv, .md, .tex, .provenance.json, _tests.csv")
    if arguments.activity:
        _print_activity(arguments.name, written, out)
    return 0


def without_leaks(runs: Sequence[Run]) -> list[Run]:
    """Leave out runs that never draw held-out items, and say so."""
    honest = [run for run in runs if not run.get("leak")]
    if len(honest) < len(runs):
        print(
            f"{len(runs) - len(honest)} runs with protocol.negatives=exclude_held_out, a leak, "
            "are left out; --where protocol.negatives=exclude_held_out shows them",
            file=sys.stderr,
        )
    return honest


def _print_activity(name: str, table: Written, out: Path) -> None:
    from hapens_bench.analysis.tables.activity import span, write_activity

    frame = write_activity(name, table.definition, table.filled, out)
    lines: list[Line] = []
    for row in frame[frame["metric"] == frame["metric"].iloc[0]].to_dict("records"):
        line = [
            row["dataset"],
            row["against"],
            span(row["items_low"], row["items_high"]),
            str(row["users"]),
        ]
        line += [f"{row[key]:.2f}" for key in ("mean", "against_mean")] + [
            f"{row['difference']:+.2f}"
        ]
        lines.append([*line, f"{row['p']:.3f}", f"{row['gain']:.0f} %", f"{row['lose']:.0f} %"])
    header = [
        "dataset",
        "against",
        "train items",
        "users",
        frame["sampler"].iloc[0],
        "other",
        "difference",
    ]
    print_table(
        f"{frame['metric'].iloc[0]} by activity", [*header, "p (Holm)", "gain", "lose"], lines
    )
    print(f"written: {out}/{name}_activity.csv, .svg, .png, .provenance.json")


def _split(arguments: argparse.Namespace, name: str) -> list[str]:
    return [word.strip() for word in getattr(arguments, name).split(",") if word.strip()]
