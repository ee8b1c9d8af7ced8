"""Weights & Biases as a sink: offline by default, one W&B run per trial, always closed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, Literal

from hapens_bench.config.keys import Key
from hapens_bench.tracking.sink import RunInfo, curves, results, results_table

Mode = Literal["online", "offline", "disabled"]
TAG_LENGTH = 64  # the most that W&B takes


class WandbSink:
    """Mirrors to W&B a run's history, and its test results as summary values and a table.

    The trials of a pack are open at the same time, so every run is created anew
    (`reinit="create_new"`) and nothing uses the module's current run. The package is imported when
    a run starts, so `logger=none` does not need it. Its axes are those of the two stages: `held`
    (trains without the validation part) and `full` (trains on all of train).
    """

    keys = {
        "project": Key(str, without="/\\#?%:"),
        "entity": Key(str, optional=True),
        "mode": Key(str, choices=("online", "offline", "disabled")),
        "group": Key(str, optional=True),
        "patience": Key(float, above=0),
    }

    def __init__(
        self, project: str, entity: str | None, mode: Mode, group: str | None, patience: float
    ) -> None:
        self.project, self.entity, self.mode, self.group = project, entity, mode, group
        self.patience = patience
        self.run: Any = None
        self.rows = 0

    def start(self, run: RunInfo) -> None:
        """Open a W&B run under our run id in the run folder; it replaces one with the same id."""
        os.environ.setdefault("WANDB_SILENT", "true")  # read at import
        os.environ.setdefault("WANDB__SERVICE_WAIT", str(self.patience))
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(run.folder),
            id=run.run_id,
            name=run.name,
            group=self.group or run.group,
            job_type="train",
            tags=[tag[:TAG_LENGTH] for tag in run.tags],
            config=run.columns,
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                init_timeout=self.patience,
                finish_timeout=self.patience,
                finish_timeout_raises=True,
            ),
        )
        for stage in ("held", "full"):
            self.run.define_metric(f"{stage}/epoch")
            for part in ("train", "valid", "test", "hardness"):
                self.run.define_metric(
                    f"{stage}/{part}/*", step_metric=f"{stage}/epoch", summary="none"
                )
        for row in run.rows:
            self.log(row["stage"], row["epoch"], row)

    def log(self, stage: str, epoch: int, row: Mapping[str, Any]) -> None:
        """Log one epoch."""
        self.run.log(curves(stage, epoch, row))
        self.rows += 1

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write each selection's test metrics to the summary and the table `results`, and close."""
        import wandb

        columns, rows = results_table(summary)
        self.run.log({"results": wandb.Table(columns=columns, data=rows)})
        for key, value in results(summary).items():
            self.run.summary[key] = value
        self._close(0)

    def fail(self, reason: str) -> None:
        """Record the reason and close as failed."""
        self.run.summary["failure"] = reason
        self._close(1)

    def _close(self, exit_code: int) -> None:
        place = os.path.dirname(self.run.dir)
        self.run.finish(exit_code=exit_code)
        if self.mode == "offline" and self.rows:  # nobody wants to upload an empty file
            print(f"to upload this run: wandb sync {shlex.quote(place)}")
