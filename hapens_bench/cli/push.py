"""`hapens push`: fill a tracker from finished run folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError
from hapens_bench.runs.archive import ArchivedRun, open_run
from hapens_bench.runs.archiving import to_folder
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.ledger import load
from hapens_bench.tracking.options import option_problems
from hapens_bench.tracking.push import push


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    trackers = sorted(path.stem for path in conf_dir().glob("logger/*.yaml") if path.stem != "none")
    parser.add_argument("tracker", choices=trackers)
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)"
    )
    parser.add_argument(
        "--archive",
        type=Path,
        help="folder of archives whose runs are extracted into --runs and pushed, too",
    )
    parser.add_argument("--dataset", nargs="*", default=[], help="only runs of these data sets")
    parser.add_argument("--sampler", nargs="*", default=[], help="only runs of these samplers")
    parser.add_argument(
        "--run",
        nargs="*",
        default=[],
        dest="run_ids",
        metavar="RUN_ID",
        help="only the runs with these ids",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="its options, such as project=mine",
    )
    parser.add_argument("--again", action="store_true", help="also push what was pushed before")
    parser.set_defaults(run=run_push)


def run_push(arguments: argparse.Namespace) -> int:
    """Push each finished run once and name those that cannot be pushed; return 1 if any failed.

    Raises:
        UserError: when there is nothing to push, the tracker is not installed, or it lacks an
            option.
    """
    tracker = arguments.tracker
    overrides = [f"logger={tracker}", f"paths.runs={hydra_value(arguments.runs)}"]
    for option in arguments.set:
        key, sign, value = option.partition("=")
        if not sign:
            raise UserError(f"--set takes KEY=VALUE, such as project=mine, and not {option!r}")
        text = hydra_value(None if value == "null" else value)
        overrides.append(f"++logger.{tracker}.{key}={text}")
    logger = compose_config(overrides)["logger"]
    if wrong := list(option_problems(logger)):
        raise UserError("; ".join(wrong))
    options = logger[tracker]
    ledger = load(arguments.runs, arguments.archive)
    for reason in ledger.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    wanted = {
        "dataset": arguments.dataset,
        "sampler": arguments.sampler,
        "run_id": arguments.run_ids,
    }
    folders = [
        open_run(run["folder"])
        for run in ledger.runs
        if all(not names or run[key] in names for key, names in wanted.items())
    ]
    if not folders:
        raise UserError(f"there are no such finished runs below {arguments.runs}")
    counts = {"pushed": 0, "pushed before": 0, "skipped": len(ledger.skipped), "failed": 0}
    for folder in folders:
        try:
            if isinstance(folder, ArchivedRun):  # a tracker writes into the run folder
                folder = to_folder(folder, arguments.runs)
            new = push(folder, tracker, options, arguments.again)
            counts["pushed" if new else "pushed before"] += 1
        except DamagedRun as error:
            counts["skipped"] += 1
            print(f"skipped {folder.path}: {error}", file=sys.stderr)
        except ImportError as error:
            raise UserError(f"{tracker} cannot be imported: {error}") from error
        except Exception as error:
            counts["failed"] += 1
            print(f"failed {folder.path}: {type(error).__name__}: {error}", file=sys.stderr)
    print(", ".join(f"{n} {what}" for what, n in counts.items() if n))
    return 1 if counts["failed"] else 0
