"""All run folders, read as tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hapens_bench.tracking.run_folder import DamagedRun, RunFolder


def finished_runs(root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the summaries of all finished runs below a folder, and name what could not be read."""
    summaries, skipped = [], []
    for path in _folders(root):
        folder = RunFolder(path)
        try:
            status = folder.read_status()
            if status is not None and status.get("state") == "done":
                summaries.append(folder.read_summary() | {"folder": str(path)})
        except DamagedRun as error:
            skipped.append(f"{path}: {error}")
    return summaries, skipped


def _folders(root: Path) -> Iterator[Path]:
    """Find the run folders, <root>/<dataset>/<model>/<sampler>/<run_id>, in a stable order."""
    return (path.parent for path in sorted(root.glob("*/*/*/*/status.json")))
