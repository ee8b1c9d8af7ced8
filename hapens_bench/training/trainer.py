"""The training loop: a pack of trials goes through its stages, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hapens_bench.data.interactions import Split
from hapens_bench.evaluation.ranking import PerUser, Ranking
from hapens_bench.models.base import Encoded
from hapens_bench.runs.folder import ARTEFACTS
from hapens_bench.training.artefacts import trained
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.pack import Pack
from hapens_bench.training.stage import Stage, ranking
from hapens_bench.training.trial import STAGES, Trial
from hapens_bench.training.user_hardness import user_hardness


class Watcher(Protocol):
    """Someone who wants to see a pack's epochs go by."""

    def epoch(
        self, stage: str, epoch: int, trials: Sequence[Trial], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take the rows of an epoch, one a trial."""


class Trainer:
    """Trains T trials that share data, protocol, model shape, batch size and sampler class.

    Stage `held` trains on the train part and is judged on the validation part, stage `full` trains
    on both, or on what `protocol.mask` says, and is judged on test; every trial goes through the
    stages that its selections need. A trial that is over leaves the pack at once, `end` is told,
    and the others go on without it.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        split: Split,
        device: torch.device,
        end: Callable[[Trial], None] = lambda trial: None,
        watcher: Watcher | None = None,
    ) -> None:
        self.trials, self.split, self.device, self.end, self.watcher = (
            list(trials),
            split,
            device,
            end,
            watcher,
        )
        self.config = trials[0].config  # what is used of it is the same for all
        self.active: list[Trial] = []
        self.pack: Pack | None = None
        self.finished: list[torch.Tensor] | None = None

    def run(self) -> None:
        """Train every trial to its end; a failed one carries its reason in `failure`."""
        self.test_ranking = ranking(self.config, self.split, self.device)
        for stage in STAGES:
            self.active = [
                t for t in self.trials if t.failure is None and t.progress.stage == stage
            ]
            if self.active:
                self._run_stage(stage)

    def rescue(self) -> list[Trial]:
        """After an exception: take the trials that are not over back to their last finished epoch,
        and write it down.
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
        judge = (
            self.test_ranking
            if stage == "full"
            else ranking(self.config, self.split, self.device, stage)
        )
        setting = Stage(stage, self.config, self.split, self.device)
        pack = self._start_pack(setting)
        self.saved_at, self.save_seconds = time.monotonic(), 0.0
        loop: EpochLoop | None = None
        for epoch in range(self.active[0].progress.next_epoch, self.config["trainer"]["epochs"]):
            if loop is None:
                loop = self._loop(setting, pack)
            start = time.monotonic()
            rows = loop.run(epoch)
            results, chosen = self._evaluate(pack, judge, stage, epoch, rows)
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
                loop = None  # it holds the tensors of the pack as it was
            if not self.active:
                break
            self._settle(pack)
        self.pack = None

    def _start_pack(self, setting: Stage) -> Pack:
        """Build the pack of the active trials, and put those that have a checkpoint back to it."""
        pack = setting.pack([t.config for t in self.active])
        start = self.active[0].progress.next_epoch
        for place, trial in enumerate(self.active):
            assert trial.progress.next_epoch == start, "trials of a pack start at the same epoch"
            if trial.pack_state is not None:
                pack.load_trial_state(place, trial.pack_state)
        self._settle(pack)
        return pack

    def _checkpoint(self, pack: Pack, setting: Stage, stage: str, evaluated: bool) -> None:
        """Save trials whose stage is over; after an evaluation, and when it is time, all the others
        too.
        """
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

    def _drop_finished(self, pack: Pack, stage: str) -> bool:
        """Let trials whose stage is over leave the pack; return whether any did."""
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

    def _loop(self, setting: Stage, pack: Pack) -> EpochLoop:
        """Make ready to train the active trials, and note on each why its steps cannot be captured,
        if so.
        """
        loop = setting.loop(pack)
        for trial in self.active:
            trial.progress.uncaptured = loop.uncaptured or trial.progress.uncaptured
        return loop

    def _settle(self, pack: Pack) -> None:
        """Take what there is now as the last finished epoch: what `rescue` goes back to."""
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
        if not math.isfinite(row["train/loss"]):
            trial.failure = f"the loss is {row['train/loss']} in epoch {epoch} of stage {stage}"
        elif trial.finished(stage, epoch):
            trial.close_stage(stage)
        elif row["evaluated"]:
            trial.prune()

    @staticmethod
    def _save(trial: Trial, state: dict[str, Any] | None) -> None:
        """Write a trial's checkpoint; where its folder cannot be written, that trial has failed and
        the others go on.
        """
        try:
            trial.save(state)
        except OSError as error:
            trial.failure = f"{trial.folder.path} cannot be written: {error}"

    @torch.no_grad()
    def _evaluate(
        self, pack: Pack, judge: Ranking, stage: str, epoch: int, rows: Sequence[dict[str, Any]]
    ) -> tuple[dict[int, PerUser], dict[int, list[str]]]:
        """Rank where an evaluation is due, and let each trial judge its result: its selections that
        now report this epoch.
        """
        active = self.active
        wanted = [t for t, trial in enumerate(active) if trial.monitors(stage, epoch)]
        for t, row in enumerate(rows):
            row |= {"stage": stage, "evaluated": t in wanted}
        if not wanted:
            return {}, {}
        encoded = pack.model.encode()

        def ranked(by: Ranking, trials: list[int]) -> dict[int, PerUser]:
            if not trials:
                return {}
            if len(trials) == len(active):
                found = by.evaluate(encoded.queries, encoded.items)
            else:
                found = by.evaluate(encoded.queries[trials], encoded.items[trials])
            return dict(zip(trials, found, strict=True))

        results = ranked(judge, wanted)
        chosen = {t: active[t].judge(stage, epoch, result) for t, result in results.items()}
        part = "valid" if stage == "held" else "test"
        for t, result in results.items():
            rows[t] |= {f"{part}/{metric}": value for metric, value in result.mean().items()}
        tests = (
            ranked(self.test_ranking, [t for t in wanted if chosen[t]])
            if stage == "held"
            else results
        )
        for t, selections in chosen.items():
            for selection in selections:
                active[t].report(selection, epoch, tests[t])
        return results, chosen

    def _leave(self, pack: Pack, setting: Stage, improved: Mapping[int, PerUser]) -> None:
        """Write down what other trials may start from, of the trials whose best epoch so far this
        is (`ARTEFACTS`).

        An epoch that is trained again, after a kill before its checkpoint, writes the same files
        again.
        """
        wanted = [key for key in ARTEFACTS if self.config["trainer"][key]]
        if not wanted or not improved:
            return
        encoded = pack.model.encode().detach()
        make = {
            "user_hardness": lambda t: self._hardness(encoded, setting, t, improved[t]),
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
        self, encoded: Encoded, setting: Stage, t: int, result: PerUser
    ) -> dict[str, NDArray[np.float64]]:
        """Measure how hard each user's negatives may be; beside it `validation`, the monitored
        metric, nan where there is none.
        """
        found = user_hardness(encoded.queries[t], encoded.items[t], setting.positives)
        found["validation"] = np.full(self.split.n_users, np.nan)
        found["validation"][result.users.numpy()] = result.values[self.active[t].monitor].numpy()
        return found
