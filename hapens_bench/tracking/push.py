"""`hapens push`: fill a tracker from finished run folders."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate

from hapens_bench.analysis.ledger import load
from hapens_bench.config import compose_config, conf_dir
from hapens_bench.errors import UserError
from hapens_bench.tracking.files import DamagedRun
from hapens_bench.tracking.run_folder import RunFolder
from hapens_bench.tracking.sink import Sink, describe


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    trackers = sorted(path.stem for path in conf_dir().glob("logger/*.yaml") if path.stem != "none")
    push = commands.add_parser("push", help="fill a tracker from finished run folders")
    push.add_argument("tracker", choices=trackers)
    push.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders (default: runs)")
    push.add_argument("--dataset", nargs="*", default=[], help="runs of these data sets only")
    push.add_argument("--sampler", nargs="*", default=[], help="runs of these samplers only")
    push.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="its options, as project=mine")
    push.add_argument("--again", action="store_true", help="push what was pushed before too")
    push.set_defaults(run=run_push)


def run_push(arguments: argparse.Namespace) -> int:
    """Push each finished run once, and name those that cannot be pushed; 1 where a tracker failed.

    Raises:
        UserError: when there is nothing to push, the tracker is not installed, or an option is none of its.
    """
    tracker = arguments.tracker
    overrides = [f"logger={tracker}", f"paths.runs={arguments.runs}"]
    options = compose_config([*overrides, *(f"logger.{tracker}.{one}" for one in arguments.set)])["logger"][tracker]
    ledger = load(arguments.runs)
    for what in ledger.skipped:
        print(f"skipped {what}", file=sys.stderr)
    wanted = {"dataset": arguments.dataset, "sampler": arguments.sampler}
    found = [
        RunFolder(Path(run["folder"]))
        for run in ledger.runs
        if all(not names or run[key] in names for key, names in wanted.items())
    ]
    if not found:
        raise UserError(f"there are no such finished runs below {arguments.runs}")
    counts = {"pushed": 0, "pushed before": 0, "skipped": len(ledger.skipped), "failed": 0}
    for folder in found:
        try:
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


def push(folder: RunFolder, tracker: str, options: Mapping[str, Any], again: bool) -> bool:
    """Tell a tracker what a finished run's files hold, unless it was told before with the same options; tell whether it was done now.

    Raises:
        DamagedRun: when a file cannot be read. Exception: whatever the tracker raises.
    """
    summary, pushed = folder.read_summary(), folder.read_pushed()
    digest = hashlib.sha256((folder.path / "summary.json").read_bytes()).hexdigest()[:12]
    record = {"options": dict(options), "summary": digest}
    if pushed.get(tracker) == record and not again:
        return False
    rows = [
        {str(key): value for key, value in row.items() if pd.notna(value)}
        for row in folder.read_frame("history").to_dict("records")
    ]
    info = describe(folder.read_config(), folder.path, rows)
    sink: Sink = instantiate(options)
    try:
        sink.start(info)
        sink.finish(summary)
    except Exception as error:
        with contextlib.suppress(Exception):
            sink.fail(f"hapens push failed: {error}")
        raise
    folder.write_pushed({**pushed, tracker: record})
    return True
