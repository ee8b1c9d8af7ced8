"""The training loop: a pack of trials goes through its stages, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hapens_bench.data.interactions import IntArray, Split
from hapens_bench.evaluation.ranking import FullRanking, PerUser
from hapens_bench.kernels import pick_engine
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.pack import Pack
from hapens_bench.training.trial import STAGES, Trial


class Trainer:
    """Trains T trials that share data, protocol, model shape, batch size and sampler class.

    Stage `held` trains on the train part and is judged on the validation part, stage `full` trains on both and is judged on test;
    every trial goes through the stages that its selections need. A trial that stops leaves the pack, the others go on.
    """

    def __init__(self, trials: Sequence[Trial], split: Split, device: torch.device) -> None:
        self.trials, self.split, self.device = list(trials), split, device
        self.settings: dict[str, Any] = dict(trials[0].config["trainer"])
        self.engine = pick_engine(self.settings["engine"], device)
        self.metrics: list[str] = list(trials[0].config["protocol"]["metrics"])
        self.test_ranking = self._ranking(split.full_train, split.test)

    def run(self) -> None:
        """Train every trial to its end; a failed one carries its reason in `failure`."""
        for stage in STAGES:
            active = [t for t in self.trials if t.failure is None and t.progress.stage == stage]
            if active:
                self._run_stage(stage, active)

    def _run_stage(self, stage: str, active: list[Trial]) -> None:
        split = self.split
        pairs = split.train if stage == "held" else split.full_train
        budget = int(self.settings["bitmap_mb"] * 2**20)
        positives = Positives(pairs, split.n_users, split.n_items, self.device, budget, self.engine)
        ranking = self._ranking(split.train, split.valid) if stage == "held" else self.test_ranking
        truth = [split.test, split.valid] if split.relevant is None else [split.relevant]
        false_negatives = Positives(
            np.concatenate(truth), split.n_users, split.n_items, self.device, budget, self.engine
        )
        train = torch.from_numpy(pairs).to(self.device)

        pack = Pack([t.config for t in active], split.n_users, split.n_items, self.device, self.engine)
        start = active[0].progress.next_epoch
        for place, trial in enumerate(active):
            assert trial.progress.next_epoch == start, "trials of a pack start at the same epoch"
            if trial.pack_state is not None:
                pack.load_trial_state(place, trial.pack_state)
        loop = EpochLoop(pack, train, positives, false_negatives, self.settings, self.engine)
        saved = time.monotonic()
        for epoch in range(start, self.settings["epochs"]):
            begun = time.monotonic()
            rows = loop.run(epoch)
            self._evaluate(pack, ranking, stage, epoch, active, rows)
            over = []
            for trial, row in zip(active, rows, strict=True):
                row["seconds"] = time.monotonic() - begun
                trial.progress.seconds += row["seconds"]
                trial.progress.rows.append(row)
                trial.progress.next_epoch = epoch + 1
                trial.sinks.log(stage, epoch, row)
                if not math.isfinite(row["train/loss"]):
                    trial.failure = f"the loss is {row['train/loss']} in epoch {epoch} of stage {stage}"
                elif trial.finished(stage, epoch):
                    trial.close_stage(stage)
                over.append(trial.failure is not None or trial.progress.stage != stage)
            due = rows[0]["evaluated"] and time.monotonic() - saved >= self.settings["checkpoint_seconds"]
            for place, trial in enumerate(active):
                if trial.failure is None and (due or over[place]):
                    trial.save(None if over[place] else pack.trial_state(place))
                    saved = time.monotonic()
            if any(over):
                going_on = [place for place in range(len(active)) if not over[place]]
                active = [active[place] for place in going_on]
                if not active:
                    return
                pack.keep(going_on)
                loop = EpochLoop(pack, train, positives, false_negatives, self.settings, self.engine)

    @torch.no_grad()
    def _evaluate(
        self,
        pack: Pack,
        ranking: FullRanking,
        stage: str,
        epoch: int,
        active: list[Trial],
        rows: list[dict[str, Any]],
    ) -> None:
        """Rank all items where an evaluation is due, and let each trial judge its result."""
        wanted = [t for t, trial in enumerate(active) if trial.monitors(stage, epoch)]
        for t, row in enumerate(rows):
            row |= {"stage": stage, "evaluated": t in wanted}
        if not wanted:
            return
        encoded = pack.model.encode()

        def ranked(by: FullRanking, trials: list[int]) -> dict[int, PerUser]:
            index = torch.tensor(trials, device=self.device)
            results = by.evaluate(encoded.users[index], encoded.items[index]) if trials else []
            return dict(zip(trials, results, strict=True))

        results = ranked(ranking, wanted)
        chosen = {t: active[t].judge(stage, epoch, result) for t, result in results.items()}
        part = "valid" if stage == "held" else "test"
        for t, result in results.items():
            rows[t] |= {f"{part}/{metric}": value for metric, value in result.mean().items()}
        tests = ranked(self.test_ranking, [t for t in wanted if chosen[t]]) if stage == "held" else results
        for t, selections in chosen.items():
            for selection in selections:
                active[t].report(selection, epoch, tests[t])

    def _ranking(self, exclude: IntArray, targets: IntArray) -> FullRanking:
        return FullRanking(
            exclude,
            targets,
            self.split.n_users,
            self.split.n_items,
            self.metrics,
            self.device,
            self.settings["eval_memory_mb"],
            self.engine,
        )
