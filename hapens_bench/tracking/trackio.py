"""Trackio as a sink: a local dashboard beside the run folders, without an account."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hapens_bench.config.keys import Key
from hapens_bench.tracking.sink import RunInfo, curves, results, results_table


class TrackioSink:
    """Mirrors a run's history, test results and final table to Trackio's files in a folder.

    The trials of a pack are open at the same time, so every run is its own object: `trackio.init`
    would close the run before. The package is imported when a run starts; it then takes its folder
    from the environment, one for the whole process.
    """

    keys = {"project": Key(str), "folder": Key(str), "group": Key(str, optional=True)}

    def __init__(self, project: str, folder: str, group: str | None) -> None:
        self.project, self.folder, self.group = project, Path(folder).expanduser().resolve(), group
        self.run: Any = None

    def start(self, run: RunInfo) -> None:
        """Open a run under our run id, replacing one with the same id.

        Raises:
            RuntimeError: when this process already writes to another folder.
            OSError: when the folder cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)  # Trackio would only warn
        os.environ["TRACKIO_DIR"] = str(self.folder)
        # Otherwise a saved token makes it ask the hub for the user's name.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import trackio

        if self.folder != trackio.TRACKIO_DIR:
            raise RuntimeError(
                f"this process writes to {trackio.TRACKIO_DIR}, not to {self.folder}"
            )
        trackio.api.Run(self.project, run.name, run.run_id).delete()
        self.run = trackio.Run(
            url=None,
            project=self.project,
            client=None,
            name=run.name,
            run_id=run.run_id,
            group=self.group or run.group,
            config=run.columns,
        )
        tell(self.folder, self.project)
        for row in run.rows:
            self.log(row["stage"], row["epoch"], row)

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Log one epoch."""
        self.run.log(curves(stage, epoch, row), step=epoch)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log each selection's test metrics, also as the table `results`, and close."""
        import trackio

        columns, rows = results_table(summary)
        self.run.log({**results(summary), "results": trackio.Table(columns=columns, data=rows)})
        self.run.finish()

    def fail(self, reason: str) -> None:
        """Leave an alert with the reason and close, if the run was opened."""
        if self.run is None:
            return
        import trackio

        self.run.alert("failed", reason, trackio.AlertLevel.ERROR)
        self.run.finish()


@cache
def tell(folder: Path, project: str) -> None:
    """Print the command that shows the runs, once."""
    print(
        f"to look at the runs: TRACKIO_DIR={shlex.quote(str(folder))} "
        f"trackio show --project {shlex.quote(project)}"
    )
