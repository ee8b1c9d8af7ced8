"""`hapens table`, `hapens figure`, `hapens report`, `hapens choose`: what run folders say."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hapens_bench.analysis.crosstab import Layout, write_crosstab
from hapens_bench.analysis.ledger import load
from hapens_bench.analysis.replicates import Run
from hapens_bench.analysis.selecting import finished, narrow, parse_where
from hapens_bench.analysis.tables import Written, write_table
from hapens_bench.analysis.writers import Line, print_table
from hapens_bench.errors import UserError
from hapens_bench.training.trial import STAGES


def add_parser(commands: Any) -> None:
    """Add the commands to the command line."""
    table = commands.add_parser(
        "table", help="print and write a table of the finished runs: a paper's, or your own rows and columns"
    )
    table.add_argument("name", nargs="?", help="of conf/table, as ahns_table2; or none, with --rows")
    table.add_argument("--rows", help="dataset, protocol, model or sampler")
    table.add_argument(
        "--cols", default="dataset,metric", help="the same, metric or selection (default: dataset,metric)"
    )
    table.add_argument(
        "--selection", default="valid_refit", help="test_peak, valid, valid_refit (default: valid_refit)"
    )
    table.add_argument("--metrics", default="", help="as Recall@20,NDCG@20 (default: the first three)")
    table.add_argument("--where", nargs="*", default=[], metavar="KEY=VALUE", help="with --rows: these runs only")
    table.add_argument(
        "--activity",
        action="store_true",
        help="with a paper's table: also compare its method with the others among users of few and of many items",
    )
    _add_folders(table, "results/tables")
    table.set_defaults(run=run_table)
    figure = commands.add_parser("figure", help="draw curves, grids, bars or paths from the finished runs")
    figure.add_argument("name", help="of conf/figure, as hardness or ahns_fig5")
    filters = (
        "these runs only, as dataset=tools sampler=dns,ahns sampler.M=16: dataset, model, protocol, sampler, seed, "
    )
    figure.add_argument(
        "--where", nargs="*", default=[], metavar="KEY=VALUE", help=f"{filters}selection or any key of config.yaml"
    )
    figure.add_argument("--stage", choices=STAGES, help="draw this stage's epochs, not those of the figure's own stage")
    _add_folders(figure, "results/figures")
    figure.set_defaults(run=run_figure)
    report = commands.add_parser("report", help="write one HTML file that shows every run")
    _add_folders(report, "results/report.html")
    report.set_defaults(run=run_report)
    choose = commands.add_parser(
        "choose", help="write each sampler's best trial of a tuning experiment into conf/tuned"
    )
    choose.add_argument("experiments", help="of conf/experiment, as tune_ahns or tune_ahns,tune_ahns_fine")
    choose.add_argument("setting", help="the folder of conf/tuned to write, as equal; then tuned=equal uses it")
    choose.add_argument("--dataset", nargs="*", default=[], help="these data sets only (default: all that were run)")
    choose.add_argument("--sampler", nargs="*", default=[], help="these samplers only (default: all of the experiment)")
    choose.add_argument("--trials", help="the budget of each, as 16 or 16,8, where it is not the experiment's own")
    _add_folders(choose, "results/tuning")
    choose.set_defaults(run=run_choose)


def _add_folders(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"default: {out}")


def run_table(arguments: argparse.Namespace) -> int:
    """Print the table on the screen and write its files."""
    ledger = load(arguments.runs)
    for what in ledger.skipped:
        print(f"skipped {what}", file=sys.stderr)
    if (arguments.name is None) == (arguments.rows is None):
        raise UserError("hapens table takes the name of a paper's table, or --rows for one of your own")
    if arguments.activity and arguments.rows:
        raise UserError("--activity compares the methods of a paper's table; --rows has none")
    if arguments.rows:
        columns, selections, metrics = (_split(arguments, name) for name in ("cols", "selection", "metrics"))
        layout = Layout(arguments.rows, columns, selections, metrics)
        runs: Sequence[Run] = ledger.runs
        if arguments.where:
            runs = [one.summary for one in narrow(finished(runs), parse_where(arguments.where))]
        found = write_crosstab(layout, runs, arguments.out, f"{arguments.rows}_by_{'_'.join(columns)}")
        print_table(f"{', '.join(selections)}, percent", found.header, found.lines)
        print(f"written: {arguments.out}/{arguments.rows}_by_{'_'.join(columns)}.csv, .md, .tex, .provenance.json")
        return 0
    written = write_table(arguments.name, ledger.runs, arguments.out)
    print_table(written.definition["title"], written.header, [line for line in written.lines if line[3] != "0"])
    order = written.orders
    taus = [
        [r["dataset"], r["metric"], r["selection"], str(r["methods"]), f"{r['tau']:+.2f}"]
        for r in order.to_dict("records")
    ]
    print_table("Kendall's tau with the paper's order of the methods", list(order.columns), taus)
    print(f"written: {arguments.out}/{arguments.name}.csv, .md, .tex, .provenance.json, _tests.csv")
    if arguments.activity:
        _print_activity(arguments.name, written, arguments.out)
    return 0


def _print_activity(name: str, table: Written, out: Path) -> None:
    from hapens_bench.analysis.activity import span, write_activity  # matplotlib takes a second to import

    frame = write_activity(name, table.definition, table.filled, out)
    lines: list[Line] = []
    for row in frame[frame["metric"] == frame["metric"].iloc[0]].to_dict("records"):
        line = [row["dataset"], row["against"], span(row["items_low"], row["items_high"]), str(row["users"])]
        line += [f"{row[key]:.2f}" for key in ("mean", "against_mean")] + [f"{row['difference']:+.2f}"]
        lines.append([*line, f"{row['p']:.3f}", f"{row['gain']:.0f} %", f"{row['lose']:.0f} %"])
    header = ["dataset", "against", "train items", "users", frame["sampler"].iloc[0], "other", "difference"]
    print_table(f"{frame['metric'].iloc[0]} by activity", [*header, "p (Holm)", "gain", "lose"], lines)
    print(f"written: {out}/{name}_activity.csv, .svg, .png, .provenance.json")


def _split(arguments: argparse.Namespace, name: str) -> list[str]:
    return [part.strip() for part in getattr(arguments, name).split(",") if part.strip()]


def run_figure(arguments: argparse.Namespace) -> int:
    """Draw the figure and say what is missing in it."""
    from hapens_bench.analysis.figures import write_figure  # matplotlib takes a second to import

    where = parse_where(arguments.where)
    frame, notes = write_figure(arguments.name, arguments.runs, arguments.out, where, arguments.stage)
    print(f"{len(frame)} points; written: {arguments.out}/{arguments.name}.svg, .png, .csv, .provenance.json")
    for note in notes:
        print(note, file=sys.stderr)
    return 0


def run_report(arguments: argparse.Namespace) -> int:
    """Write the report and say what was left out of it."""
    from hapens_bench.analysis.report.page import write_report

    ledger = write_report(arguments.runs, arguments.out)
    for what in ledger.skipped:
        print(f"skipped {what}", file=sys.stderr)
    print(f"{len(ledger.runs)} finished runs, {len(ledger.unfinished)} not finished; written: {arguments.out}")
    return 0


def run_choose(arguments: argparse.Namespace) -> int:
    """Write the best settings and print them."""
    from hapens_bench.analysis.tuning import write_choice

    if not re.fullmatch(r"\w+", arguments.setting):
        raise UserError(f"a setting is named by letters, digits and _, not {arguments.setting!r}")
    names, trials = arguments.experiments.split(","), (arguments.trials or "").split(",") if arguments.trials else []
    if any(not re.fullmatch("[1-9][0-9]*", n) for n in trials) or len(trials) not in (0, len(names)):
        raise UserError(
            f"--trials is {arguments.trials!r}, but it takes a whole number above 0 for each of {', '.join(names)}"
        )
    written = write_choice(
        names,
        arguments.setting,
        arguments.runs,
        arguments.dataset,
        arguments.sampler,
        [int(n) for n in trials],
        arguments.out,
    )
    lines: list[Line] = []
    for row in written.chosen.to_dict("records"):
        epoch = f"{row['epoch']}" + ("" if row["converged"] else " !")
        value = f"{100 * row['value']:.2f}"
        lines.append([row["dataset"], row["sampler"], str(row["trials"]), row["setting"], value, epoch])
    header = ["dataset", "sampler", "trials", "best setting", "validation, percent", "epoch"]
    print_table("best by validation; !: in its last epoch (not converged)", header, lines)
    for sentence in written.said:
        print(f"- {sentence}")
    print(f"written: conf/tuned/{arguments.setting}/*.yaml and {arguments.out}/{names[0]}/")
    return 0
