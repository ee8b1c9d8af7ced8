"""One study: the trials that optuna proposes, and the outcomes it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.core.override_parser.types import IntervalSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from hapens_bench.launch.budget import Sweep, bounds, shown, values, written
from hapens_bench.tune.plan import Plan, StudyPlan
from hapens_bench.tune.pruning import Curve, median_floor

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Asked:
    """A trial to be trained: its number and its setting, as overrides."""

    trial: optuna.Trial
    setting: list[str]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: complete, pruned or failed, with its validation value averaged over seeds.

    `curve` holds the best value so far of its first seed by epoch, `facts` what the tables show.
    """

    state: str
    value: float | None = None
    curve: Curve = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def distribution(key: str, sweep: Sweep) -> BaseDistribution:
    """Return a key's space for optuna; values of lists and ranges are categories, as text."""
    if isinstance(sweep, IntervalSweep):
        low, high, log = bounds(key, sweep)
        return FloatDistribution(low, high, log=log)
    return CategoricalDistribution(list(dict.fromkeys(map(written, values(key, sweep)))))


class Study:
    """A sampler's search on a data set, kept in the journal under the plan's name."""

    def __init__(self, plan: Plan, spec: StudyPlan, storage: JournalStorage) -> None:
        self.plan, self.spec = plan, spec
        self.space: dict[str, BaseDistribution] = {
            key: distribution(key, sweep) for key, sweep in spec.space.items()
        }
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            storage=storage, study_name=spec.name, direction="maximize", load_if_exists=True
        )

    def trials(self) -> list[FrozenTrial]:
        """Return the trials within the budget, in the order of their proposal."""
        return self.study.get_trials(deepcopy=False)[: self.plan.n_trials]

    def ask_batch(self) -> list[Asked]:
        """Propose the next batch, or the rest of an interrupted one, within the budget.

        Batch k always has the trials k b ... k b + b - 1: all of a batch are proposed before the
        outcome of any is told.
        """
        trials, b = self.trials(), self.plan.settings["batch"]
        first = next((t.number for t in trials if t.state not in OVER), len(trials))
        numbers = range(first, min((first // b + 1) * b, self.plan.n_trials))
        return [self._ask(n) for n in numbers if n >= len(trials) or trials[n].state not in OVER]

    def _ask(self, number: int) -> Asked:
        """Propose trial `number` and record it, or resume it.

        A proposal is made from a copy of the study in memory, by a sampler with its own seed, and
        recorded as one line of the journal. So it depends on earlier trials alone, and a kill at
        any time leaves it whole or not there at all.
        """
        trials = self.study.get_trials(deepcopy=False)
        if number == len(trials):
            fixed = number < len(self.spec.fixed)
            params = (
                self._point(self.spec.fixed[number]) if fixed else self._propose(number, trials)
            )
            begun = optuna.trial.create_trial(
                state=TrialState.RUNNING, params=params, distributions=self.space
            )
            self.study.add_trial(begun)
        trial = self.study.get_trials(deepcopy=False)[number]
        return Asked(optuna.Trial(self.study, trial._trial_id), self.setting(trial))

    def _propose(self, number: int, trials: list[FrozenTrial]) -> dict[str, Any]:
        """Return TPE's proposal.

        Trials of the batch without a value yet are assumed bad, so that a batch spreads.
        """
        name = f"{self.spec.name}/{number}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        sampler = TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
        copy = optuna.create_study(direction="maximize", sampler=sampler)
        copy.add_trials(trials)
        return copy.ask(self.space).params

    def setting(self, trial: FrozenTrial) -> list[str]:
        """Return a trial's parameters as overrides."""
        return [
            f"{key}={shown(x) if isinstance(x, float) else x}" for key, x in trial.params.items()
        ]

    def _point(self, setting: list[str]) -> dict[str, Any]:
        """Return overrides as optuna's parameters: numbers in intervals, other values as text."""
        params: dict[str, Any] = {}
        for key, text in (override.split("=", 1) for override in setting):
            space = self.space[key]
            params[key] = text
            if isinstance(space, FloatDistribution):
                params[key] = min(max(float(text), space.low), space.high)
        return params

    def floor(self, batch: list[Asked]) -> dict[int, float]:
        """Return what the pruner demands of a batch by epoch; nothing of the first batch."""
        if self.plan.settings["pruner"] == "none":
            return {}
        before = batch[0].trial.number // self.plan.settings["batch"] * self.plan.settings["batch"]
        curves = [
            trial.intermediate_values
            for trial in self.trials()[:before]
            if trial.intermediate_values
        ]
        return median_floor(curves, self.plan.settings["warmup"]) if curves else {}

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        """Record how a trial ended; after an interruption, only what is missing."""
        told = self.study.get_trials(deepcopy=False)[asked.trial.number].intermediate_values
        for epoch, value in outcome.curve.items():
            if epoch not in told:
                asked.trial.report(value, epoch)
        for key, fact in outcome.facts.items():
            asked.trial.set_user_attr(key, fact)
        asked.trial.set_user_attr("reached", outcome.value)
        states = {
            "complete": TrialState.COMPLETE,
            "pruned": TrialState.PRUNED,
            "failed": TrialState.FAIL,
        }
        complete = outcome.state == "complete"
        self.study.tell(
            asked.trial, outcome.value if complete else None, state=states[outcome.state]
        )
