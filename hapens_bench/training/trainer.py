"""The training loop: a pack of trials goes through its stages, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hapens_bench.data.interactions import Split
from hapens_bench.evaluation.ranking import PerUser, Ranking
from hapens_bench.models.base import Encoded
from hapens_bench.models.fitted import is_fitted
from hapens_bench.runs.folder import ARTEFACTS
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.artefacts import trained
from hapens_bench.training.fitting import FitStage
from hapens_bench.training.interface import Loop, Ranker, Setting, Trained
from hapens_bench.training.pack import Pack
from hapens_bench.training.stage import Stage, ranking
from hapens_bench.training.trial import STAGES, Trial
from hapens_bench.training.user_hardness import user_hardness


class Watcher(Protocol):
    """An observer of a pack's epochs."""

    def epoch(
        self, stage: str, epoch: int, trials: Sequence[Trial], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take the rows of an epoch, one for each trial."""


class Trainer:
    """Trains T trials that share data, protocol, model shape, batch size and sampler class.

    Stage `held` trains without the validation part and is evaluated on it. Stage `full` trains on
    all of train, the validation part included (unless `protocol.mask` says otherwise), and is
    evaluated on test. Every trial goes through the stages that its selections need. A trial that
    has ended leaves the pack at once: `end` is called with it, and the others continue without it.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        split: Split,
        device: torch.device,
        end: Callable[[Trial], None] = lambda trial: None,
        watcher: Watcher | None = None,
    ) -> None:
        self.trials, self.split, self.device = list(trials), split, device
        self.end, self.watcher = end, watcher
        self.config = trials[0].config  # the keys used here are the same in all trials
        self.active: list[Trial] = []
        self.pack: Trained | None = None
        self.finished: list[torch.Tensor] | None = None

    def run(self) -> None:
        """Train every trial to its end; a failed one has its reason in `failure`."""
        self.test_ranking = ranking(self.config, self.split, self.device)
        for stage in STAGES:
            self.active = [
                t for t in self.trials if t.failure is None and t.progress.stage == stage
            ]
            if self.active:
                self._run_stage(stage)

    def rescue(self) -> list[Trial]:
        """Save each unfinished trial as of its last finished epoch, after an exception.

        Return the trials that can be trained further.
        """
        if self.pack is not None and self.finished is not None:
            self.pack.restore(self.finished)
            for place, trial in enumerate(self.active):
                if trial.ended:
                    continue
                trial.rewind()
                trial.pack_state = self.pack.trial_state(place)
                self._save(trial, trial.pack_state)
                if trial.failure is not None:
                    self.end(trial)
        return [t for t in self.trials if t.failure is None and t.progress.stage != "done"]

    def _run_stage(self, stage: str) -> None:
        stage_ranking = self.test_ranking
        if stage == "held":
            stage_ranking = ranking(self.config, self.split, self.device, stage)
        kind = FitStage if is_fitted(self.config) else Stage
        setting: Setting = kind(stage, self.config, self.split, self.device)
        pack = self._start_pack(setting)
        self.saved_at, self.save_seconds = time.monotonic(), 0.0
        loop: Loop | None = None
        for epoch in range(self.active[0].progress.next_epoch, self.config["trainer"]["epochs"]):
            if loop is None:
                loop = self._loop(setting, pack)
            start = time.monotonic()
            rows = loop.run(epoch)
            ranker = partial(setting.ranker, pack)
            results, chosen = self._evaluate(ranker, stage_ranking, stage, epoch, rows)
            if stage == "held":
                improved = [t for t, selections in chosen.items() if "valid" in selections]
                self._leave(pack, setting, {t: results[t] for t in improved})
            seconds = time.monotonic() - start
            for trial, row in zip(self.active, rows, strict=True):
                self._note(trial, stage, epoch, row, seconds)
            if self.watcher:
                self.watcher.epoch(stage, epoch, self.active, rows)
            self._checkpoint(pack, setting, stage, rows[0]["evaluated"])
            if self._drop_finished(pack, stage):
                loop = None  # it holds the old pack's tensors: build another
            if not self.active:
                break
            self._settle(pack)
        self.pack = None

    def _start_pack(self, setting: Setting) -> Trained:
        """Build the pack of the active trials; load the checkpoints of those that have one."""
        pack = setting.pack([t.config for t in self.active])
        start = self.active[0].progress.next_epoch
        for place, trial in enumerate(self.active):
            assert trial.progress.next_epoch == start, "trials of a pack start at the same epoch"
            if trial.pack_state is not None:
                pack.load_trial_state(place, trial.pack_state)
        self._settle(pack)
        return pack

    def _checkpoint(self, pack: Trained, setting: Setting, stage: str, evaluated: bool) -> None:
        """Save the trials whose stage has ended and, when due after an evaluation, all others."""
        begun = time.monotonic()
        wait = self.config["trainer"]["checkpoint_seconds"] * max(1, self.save_seconds)
        due = evaluated and begun - self.saved_at >= wait
        for place, trial in enumerate(self.active):
            closed = trial.progress.stage != stage
            if trial.failure is not None or not (closed or due):
                continue
            if closed:
                trial.progress.indicators = setting.indicators(pack, place)
            self._save(trial, None if closed else pack.trial_state(place))
            self.saved_at = time.monotonic()
            self.save_seconds = self.saved_at - begun

    def _drop_finished(self, pack: Trained, stage: str) -> bool:
        """Drop the trials whose stage has ended from the pack; return whether there were any."""
        for trial in self.active:
            if trial.failure is not None or trial.progress.stage == "done":
                self.end(trial)
        staying = [
            place
            for place, trial in enumerate(self.active)
            if trial.failure is None and trial.progress.stage == stage
        ]
        if len(staying) == len(self.active):
            return False
        self.active = [self.active[place] for place in staying]
        if self.active:
            pack.keep(staying)
        return True

    def _loop(self, setting: Setting, pack: Trained) -> Loop:
        """Prepare to train the active trials; where steps are not captured, note why."""
        loop = setting.loop(pack)
        for trial in self.active:
            trial.progress.uncaptured = loop.uncaptured or trial.progress.uncaptured
        return loop

    def _settle(self, pack: Trained) -> None:
        """Mark the present state as the last finished epoch, to which `rescue` rolls back."""
        self.pack, self.finished = pack, pack.snapshot(self.finished)
        for trial in self.active:
            trial.mark()

    def _note(
        self, trial: Trial, stage: str, epoch: int, row: dict[str, Any], seconds: float
    ) -> None:
        """Enter an epoch into a trial's history; close its stage, fail it or prune it if due."""
        row |= {"seconds": seconds, "pack_size": len(self.active)}
        trial.progress.seconds += seconds / len(self.active)
        trial.progress.rows.append(row)
        trial.progress.next_epoch = epoch + 1
        trial.sinks.log(stage, epoch, row)
        if not math.isfinite(row.get("train/loss", 0)):  # a closed form has none
            trial.failure = f"the loss is {row['train/loss']} in epoch {epoch} of stage {stage}"
        elif trial.finished(stage, epoch):
            trial.close_stage(stage)
        elif row["evaluated"]:
            trial.prune()

    @staticmethod
    def _save(trial: Trial, state: dict[str, Any] | None) -> None:
        """Write a trial's checkpoint; if its folder cannot be written, only that trial fails."""
        try:
            trial.save(state)
        except OSError as error:
            trial.failure = f"{trial.folder.path} cannot be written: {error}"

    @torch.no_grad()
    def _evaluate(
        self,
        ranker: Callable[[], Ranker],
        stage_ranking: Ranking,
        stage: str,
        epoch: int,
        rows: Sequence[dict[str, Any]],
    ) -> tuple[dict[int, PerUser], dict[int, list[str]]]:
        """Rank for the trials whose evaluation is due; note metrics and newly chosen epochs.

        Return, by trial, the result and the selections that now report this epoch.
        """
        active = self.active
        wanted = [t for t, trial in enumerate(active) if trial.monitors(stage, epoch)]
        for t, row in enumerate(rows):
            row |= {"stage": stage, "evaluated": t in wanted}
        if not wanted:
            return {}, {}
        rank = ranker()  # of what a step has changed: encoded once for both rankings

        def ranked(by: Ranking, trials: list[int]) -> dict[int, PerUser]:
            return dict(zip(trials, rank(by, trials), strict=True)) if trials else {}

        results = ranked(stage_ranking, wanted)
        chosen = {t: active[t].select(stage, epoch, result) for t, result in results.items()}
        prefix = "valid" if stage == "held" else "test"
        for t, result in results.items():
            measured = result.mean() | result.overall
            rows[t] |= {f"{prefix}/{metric}": value for metric, value in measured.items()}
        tests = (
            ranked(self.test_ranking, [t for t in wanted if chosen[t]])
            if stage == "held"
            else results
        )
        for t, selections in chosen.items():
            for selection in selections:
                active[t].report(selection, epoch, tests[t])
        return results, chosen

    def _leave(self, pack: Trained, setting: Setting, improved: Mapping[int, PerUser]) -> None:
        """Write the `ARTEFACTS` that other trials start from, for trials with a new best epoch.

        An epoch that is trained again, after a kill before its checkpoint, writes the same files
        again.
        """
        wanted = [key for key in ARTEFACTS if self.config["trainer"].get(key)]
        if not wanted or not improved:
            return
        assert isinstance(pack, Pack) and isinstance(setting, Stage), "others have no such keys"
        positives = setting.positives
        encoded = pack.model.encode().detach()
        make = {
            "user_hardness": lambda t: self._hardness(encoded, positives, t, improved[t]),
            "best_model": lambda t: trained(pack.model, encoded, t),
        }
        for t in improved:
            trial = self.active[t]
            try:
                for key in wanted:
                    trial.folder.write_arrays(ARTEFACTS[key], make[key](t))
            except OSError as error:
                trial.failure = f"{trial.folder.path} cannot be written: {error}"

    def _hardness(
        self, encoded: Encoded, positives: Positives, t: int, result: PerUser
    ) -> dict[str, NDArray[np.float64]]:
        """Measure how hard each user's negatives may be.

        Beside it, `validation` is the user's monitored metric, nan for users who are not evaluated.
        """
        levels = user_hardness(encoded.queries[t], encoded.items[t], positives)
        levels["validation"] = np.full(self.split.n_users, np.nan)
        levels["validation"][result.users.numpy()] = result.values[self.active[t].monitor].numpy()
        return levels
