"""One trial on its way through its stages: its measurements so far, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch

from hapens_bench.config.identity import config_id, run_id
from hapens_bench.evaluation.ranking import PerUser
from hapens_bench.models.fitted import is_closed_form
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.training.best_epoch import BestEpoch

STAGES = ("held", "full")


@dataclass
class Progress:
    """All that a trial has measured, in plain values and tensors, so that a checkpoint can hold it.

    `rows` is the history, a flat dict for each epoch. `reports` maps a selection (test_peak, valid,
    valid_refit) to its epoch, metrics and per-user values. `refit_epoch` is the epoch that stage
    `held` chose, -1 before that; `validation` is the monitored value there. `indicators` is what
    the sampler remembered about the pairs with known relevance at the end of the last stage, by
    column. `uncaptured` says why a GPU did not replay steps from a captured graph, if so.
    """

    stage: str = "held"
    next_epoch: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    refit_epoch: int = -1
    validation: float | None = None
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    indicators: dict[str, torch.Tensor] = field(default_factory=dict)
    uncaptured: str | None = None

    def copy(self) -> Progress:
        """Copy what an epoch changes in place.

        Rows, metrics and tensors are not copied: they never change once they are there.
        """
        reports = {name: dict(report) for name, report in self.reports.items()}
        return replace(self, best=dict(self.best), rows=list(self.rows), reports=reports)


def curve(rows: Sequence[Mapping[Any, Any]], monitor: str) -> dict[int, float]:
    """Return the best value so far of the monitored validation metric, by epoch of a history."""
    best_so_far: dict[int, float] = {}
    best = float("-inf")
    for row in rows:
        if row["stage"] == "held" and row["evaluated"]:
            best = max(best, row[f"valid/{monitor}"])
            best_so_far[row["epoch"]] = best
    return best_so_far


def first_below(
    rows: Sequence[Mapping[Any, Any]], monitor: str, floor: Mapping[int, float]
) -> tuple[int, float] | None:
    """Return the first epoch whose best value so far is below the floor, and that value.

    None if there is no such epoch.
    """
    for epoch, best in (curve(rows, monitor) if floor else {}).items():
        if best < floor.get(epoch, float("-inf")):
            return epoch, best
    return None


class Trial:
    """A resolved config, its run folder, its sinks and its progress."""

    def __init__(self, config: Mapping[str, Any], folder: RunFolder, sinks: SafeSinks) -> None:
        self.config, self.folder, self.sinks = config, folder, sinks
        self.run_id, self.config_id = run_id(config), config_id(config)
        self.selection: list[str] = list(config["protocol"]["selection"])
        self.monitor: str = config["protocol"]["monitor"]
        self.patience: int | None = config["trainer"]["patience"]
        self.epochs: int = config["trainer"]["epochs"]
        self.eval_every: int = config["trainer"]["eval_every"]
        self.closed_form = is_closed_form(config)
        self.progress = Progress(stage=self.stages[0])
        self.pack_state: dict[str, Any] | None = None
        self.failure: str | None = None
        # the value that the best validation value so far must reach, by epoch; else pruned
        self.floor: Mapping[int, float] = {}
        self.pruned = False  # ended below the floor; `failure` says in which epoch
        self.ended = False

    @property
    def stages(self) -> list[str]:
        """The stages that its selections need, in order.

        `held` trains without the validation part, which is held out to choose an epoch; valid and
        valid_refit need it. `full` trains on all of train, the validation part included (unless
        `protocol.mask` says otherwise); test_peak and valid_refit report one of its epochs.
        """
        needs = {"held": {"valid", "valid_refit"}, "full": {"test_peak", "valid_refit"}}
        return [stage for stage in STAGES if needs[stage] & set(self.selection)]

    @property
    def best(self) -> BestEpoch:
        """The best evaluation so far of the present stage."""
        return BestEpoch(
            self.patience, **{k: v for k, v in self.progress.best.items() if k != "patience"}
        )

    def monitors(self, stage: str, epoch: int) -> bool:
        """Return whether the monitored metric is due after this epoch."""
        due = epoch % self.eval_every == 0 or epoch == self.epochs - 1
        if stage == "full" and "test_peak" not in self.selection:
            return epoch == self.progress.refit_epoch
        return due

    def select(self, stage: str, epoch: int, result: PerUser) -> list[str]:
        """Take an evaluation; return the selections that now report this epoch."""
        if stage == "held":
            best = self.best
            improved = best.update(epoch, result.mean()[self.monitor])
            self.progress.best = best.state()
            return ["valid"] if improved and "valid" in self.selection else []
        chosen = []
        if "test_peak" in self.selection:
            best = self.best
            chosen += ["test_peak"] if best.update(epoch, result.mean()[self.monitor]) else []
            self.progress.best = best.state()
        if epoch == self.progress.refit_epoch:
            chosen.append("valid_refit")
        return chosen

    def report(self, selection: str, epoch: int, test: PerUser) -> None:
        """Note the test metrics that a selection reports, and the ranks behind them."""
        report = {"epoch": epoch, "test": test.mean() | test.overall}
        report |= {"users": test.users, "values": test.values}
        report |= {"n_relevant": test.n_relevant, "ranks": test.ranks()}
        self.progress.reports.setdefault(selection, {}).update(report)

    def finished(self, stage: str, epoch: int) -> bool:
        """Return whether the stage ends after this epoch."""
        if epoch == self.epochs - 1:
            return True
        if stage == "held":
            return self.best.exhausted
        return epoch >= self.progress.refit_epoch and (
            "test_peak" not in self.selection or self.best.exhausted
        )

    def prune(self) -> None:
        """Fail the trial as pruned if its best validation value so far is below the floor."""
        below = first_below(self.progress.rows, self.monitor, self.floor)
        if below is not None:
            epoch, best = below
            self.pruned = True
            self.failure = (
                f"pruned in epoch {epoch}: its best {self.monitor} so far is {best:.4f}, "
                f"below {self.floor[epoch]:.4f}"
            )

    def close_stage(self, stage: str) -> None:
        """Note what the stage chose, and move on to the next stage."""
        progress = self.progress
        evaluated = [
            row["epoch"] for row in progress.rows if row["stage"] == stage and row["evaluated"]
        ]
        if stage == "held":
            progress.validation = self.best.value
            progress.refit_epoch = self.best.epoch if "valid_refit" in self.selection else -1
        if progress.best:
            converged = self.closed_form or self.best.epoch < evaluated[-1]
            for selection in {"held": ("valid",), "full": ("test_peak",)}[stage]:
                if selection in progress.reports:
                    progress.reports[selection]["converged"] = converged
            if stage == "held" and "valid_refit" in self.selection:
                progress.reports["valid_refit"] = {"converged": converged}
        later = self.stages[self.stages.index(stage) + 1 :]
        progress.stage, progress.next_epoch, progress.best = (later[0] if later else "done"), 0, {}
        self.pack_state = None

    def mark(self) -> None:
        """Keep a copy of the progress: the next epoch may change it before it is finished."""
        self._marked = self.progress.copy()

    def rewind(self) -> None:
        """Go back to the marked progress, that of the last finished epoch."""
        self.progress = self._marked.copy()

    def save(self, pack_state: dict[str, Any] | None) -> None:
        """Write the checkpoint and the history."""
        self.folder.save_checkpoint({"progress": vars(self.progress), "pack": pack_state})
        self.folder.write_history(self.progress.rows)

    def restore(self) -> bool:
        """Load the checkpoint; return whether there was one.

        One from before ranks were written cannot give a whole run: the trial starts over.
        """
        saved = self.folder.load_checkpoint()
        if saved is None:
            return False
        reports = saved["progress"]["reports"].values()
        if any("users" in report and "ranks" not in report for report in reports):
            return False
        self.progress, self.pack_state = Progress(**saved["progress"]), saved["pack"]
        return True

    def users_frame(self) -> pd.DataFrame:
        """Return per-user test metrics at each selection's reported epoch, a row for each user.

        `relevant` is how many test items the user has.
        """
        frames = [
            pd.DataFrame(
                {"selection": selection, "user": report["users"].numpy()}
                | {metric: v.numpy() for metric, v in report["values"].items()}
                | {"relevant": report["n_relevant"].numpy()}
            )
            for selection, report in self.progress.reports.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def ranks_frame(self) -> pd.DataFrame:
        """Return the places of test items in the top K, a row for each hit.

        Ranks count from 0. `ranking` is "full/" for the full ranking beside candidate ranking, else
        empty.
        """
        frames = [
            pd.DataFrame(ranks.numpy(), columns=["user", "rank"]).assign(
                selection=selection, ranking=ranking
            )[["selection", "ranking", "user", "rank"]]
            for selection, report in self.progress.reports.items()
            for ranking, ranks in report["ranks"].items()
        ]
        return pd.concat(frames, ignore_index=True)

    def results(self) -> dict[str, Any]:
        """Return each selection's epoch, mean test metrics and whether it converged."""
        return {
            selection: {key: report[key] for key in ("epoch", "converged", "test")}
            for selection, report in self.progress.reports.items()
        }
