"""Weights & Biases as a sink: offline unless asked, one W&B run a trial, always closed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, Literal

from hapens_bench.tracking.sink import RunInfo

Mode = Literal["online", "offline"]


class WandbSink:
    """Mirrors a run's history, and its test results as summary values, to W&B.

    The trials of a pack are open at the same time, so every run is one of its own (`reinit="create_new"`) and nothing goes through the
    module's current run. The package is imported when a run starts, so `logger=none` needs none of it.
    """

    def __init__(self, project: str, entity: str | None, mode: Mode, group: str | None) -> None:
        self.project, self.entity, self.mode, self.group = project, entity, mode, group
        self.run: Any = None

    def start(self, run: RunInfo) -> None:
        """Open the W&B run, under our run id, inside the run folder."""
        os.environ.setdefault("WANDB_SILENT", "true")  # read at import
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(run.folder),
            id=run.run_id,
            resume="allow" if self.mode == "online" else None,
            name=run.name,
            group=self.group or run.group,
            job_type="train",
            config={**run.flat, "config": run.config},
            reinit="create_new",
            settings=wandb.Settings(console="off"),
        )
        for stage in ("held", "full"):
            self.run.define_metric(f"{stage}/epoch")
            for part in ("train", "valid", "test", "hardness"):
                self.run.define_metric(f"{stage}/{part}/*", step_metric=f"{stage}/epoch", summary="none")

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Log one epoch; each stage has its own epoch axis."""
        values = {f"{stage}/{key}": value for key, value in row.items() if "/" in key}
        self.run.log({f"{stage}/epoch": epoch, **values})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Put each selection's test metrics into the summary and close."""
        for selection, report in summary["selection"].items():
            self.run.summary[f"{selection}/epoch"] = report["epoch"]
            for metric, value in report["test"].items():
                self.run.summary[f"{selection}/test/{metric}"] = value
        self._close(0)

    def fail(self, reason: str) -> None:
        """Note the reason and close as failed."""
        self.run.summary["failure"] = reason
        self._close(1)

    def _close(self, exit_code: int) -> None:
        place = os.path.dirname(self.run.dir)
        self.run.finish(exit_code=exit_code)
        if self.mode == "offline":
            print(f"to upload this run: wandb sync {shlex.quote(place)}")
