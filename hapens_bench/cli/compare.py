"""`hapens compare`: a sampler of one's own in a paper's table, against the archived methods."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hapens_bench.analysis.formats import print_table
from hapens_bench.analysis.tables.baselines import find
from hapens_bench.analysis.tables.comparisons import tests_lines
from hapens_bench.analysis.tables.paper import write_filled
from hapens_bench.cli.folders import add_archive
from hapens_bench.config.compose import compose_config
from hapens_bench.config.outside import add_config_dir, outside
from hapens_bench.errors import UserError
from hapens_bench.launch.job import Job
from hapens_bench.runs.archive import archives_below
from hapens_bench.tracking.screen import screen

if TYPE_CHECKING:  # a search brings optuna
    from hapens_bench.tune.compare import Contest, Found
    from hapens_bench.tune.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="sampler=NAME dataset=NAME, and overrides of hapens train for this sampler; a key "
        "with several values, such as sampler.M=8,16,32, is searched",
    )
    parser.add_argument(
        "--table", help="table of conf/table (default: the one with most archived methods)"
    )
    parser.add_argument(
        "--trials",
        metavar="N",
        help="trials of a table at the papers' settings (default: 8; 1: settings as they stand)",
    )
    add_config_dir(parser)
    add_archive(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out") / "compare",
        help="where to write (default: out/compare)",
    )
    parser.set_defaults(run=run_compare)


def run_compare(arguments: argparse.Namespace) -> int:
    """Search, train, and print and write the table."""
    from hapens_bench.tune.compare import Contest, search, train
    from hapens_bench.tune.source import outdated
    from hapens_bench.tune.words import read_words

    if arguments.archive is None:
        raise UserError(
            "hapens compare takes the other methods from an archive, so it takes no --no-archive"
        )
    if arguments.trials is not None and not re.fullmatch("[1-9][0-9]*", arguments.trials):
        raise UserError(f"--trials is {arguments.trials!r}, but it takes a whole number above 0")
    beside, typed = outside(arguments.overrides, arguments.config_dir)
    words = read_words(typed)
    model = words.model
    if model is None and arguments.table is None:
        model = compose_config([])["model"]["name"]
    baselines = find(words.dataset, model, arguments.archive, arguments.table)
    for archive in archives_below(arguments.archive):
        for what in (*archive.skipped, *archive.conflicts):
            print(f"skipped {what}", file=sys.stderr)
    contest = Contest(words, beside, baselines, arguments.archive)
    contest.check()
    plans = contest.plans(int(arguments.trials) if arguments.trials else None)
    if plans and importlib.util.find_spec("optuna") is None:
        raise UserError("a search needs optuna: pip install 'hapens_bench[tune]'; or --trials 1")
    console = screen()
    names = ", ".join(cell.sampler for cell in baselines.cells)
    console.print(
        f"{contest.name} on {words.dataset} against {len(baselines.cells)} archived methods of "
        f"table {baselines.table} ({names})"
    )
    if not baselines.search:
        n = sum(plan.n_trials for plan in plans)
        console.print(
            "the table's methods have their papers' settings, so learning rate and L2 are the "
            f"table's, and {f'{n} trials of' if plans else 'none of'} the sampler's own keys are "
            "searched"
        )
    if told := outdated(contest.config):
        print(f"note: {told}", file=sys.stderr)
    found = search(contest, plans, console)
    if found.trials is not None:
        console.print(f"best on validation: {found.winner['setting']}", soft_wrap=True)
    jobs = contest.jobs(found.setting)
    train(jobs, console)
    write(contest, plans, found, jobs, arguments.out)
    return 0


def write(
    contest: Contest, plans: Sequence[Plan], found: Found, jobs: Sequence[Job], out: Path
) -> None:
    """Write and print the table, its tests and the paragraph for an appendix."""
    from hapens_bench.tune.appendix import appendix

    baselines, definition = contest.baselines, contest.definition()
    cells = [*baselines.cells, contest.cell(jobs)]
    paragraph = appendix(contest, plans, found, cells)
    stem = out / contest.name / contest.words.dataset
    written = write_filled(
        definition,
        cells,
        stem,
        ["", "## For an appendix", "", *textwrap.wrap(paragraph, 100)],
        baselines.selections,
        {} if found.trials is None else {"_trials.csv": found.table},
    )
    print_table(definition["title"], written.header, written.lines)
    honest = definition["honest_selection"]
    print_table(f"{contest.name} against the others, {honest}", *tests_lines(written.tests, honest))
    print(paragraph + "\n")
    trials = "" if found.trials is None else ", _trials.csv"
    print(f"written: {stem}.csv, .md, .tex, .provenance.json, _tests.csv{trials}")
