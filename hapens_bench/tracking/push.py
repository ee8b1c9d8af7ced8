"""Filling a tracker from finished run folders."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
from hydra.utils import instantiate

from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.naming import describe
from hapens_bench.tracking.sink import Sink


def push(folder: RunFolder, tracker: str, options: Mapping[str, Any], again: bool) -> bool:
    """Send a finished run's files to a tracker; return whether they were sent.

    They are not if the tracker has them already with the same options, unless `again` is set.

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
