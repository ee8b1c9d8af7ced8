"""One study: what optuna proposes, and what it is told."""

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

from hapens_bench.launch.budget import Sweep, bounds, shown, values
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
    """What became of a trial: complete, pruned or failed, the mean over seeds of its validation value, and what stands beside it.

    `curve` is the best value so far of its first seed by epoch, `facts` what the tables show of it.
    """

    state: str
    value: float | None = None
    curve: Curve = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def distribution(key: str, sweep: Sweep) -> BaseDistribution:
    """Say in optuna's words what a key may take; values of lists and ranges are categories, written as they are tried."""
    if isinstance(sweep, IntervalSweep):
        low, high, log = bounds(key, sweep)
        return FloatDistribution(low, high, log=log)
    return CategoricalDistribution(list(dict.fromkeys(map(str, values(key, sweep)))))


class Study:
    """A sampler's search on a data set, kept in the journal under the plan's name."""

    def __init__(self, plan: Plan, own: StudyPlan, storage: JournalStorage) -> None:
        self.plan, self.own = plan, own
        self.space: dict[str, BaseDistribution] = {
            key: distribution(key, sweep) for key, sweep in own.space.items()
        }
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            storage=storage, study_name=own.name, direction="maximize", load_if_exists=True
        )

    def trials(self) -> list[FrozenTrial]:
        """List the trials within the budget, in the order of their proposal."""
        return self.study.get_trials(deepcopy=False)[: self.plan.n_trials]

    def ask_batch(self) -> list[Asked]:
        """Propose the next batch, or what an interruption left of one; nothing where the budget is used up.

        Batch k has the trials k b ... k b + b - 1, whenever they are asked for: all of a batch are proposed before any of it is told.
        """
        trials, b = self.trials(), self.plan.settings["batch"]
        first = next((t.number for t in trials if t.state not in OVER), len(trials))
        numbers = range(first, min((first // b + 1) * b, self.plan.n_trials))
        return [self._ask(n) for n in numbers if n >= len(trials) or trials[n].state not in OVER]

    def _ask(self, number: int) -> Asked:
        """Propose trial `number` and enter it, or take it up again.

        A proposal is made from a copy of the study in memory, by a sampler with a seed of its own, and entered as one line of the
        journal. So it follows from the trials before it alone, and is there whole or not at all, whenever the command is killed.
        """
        trials = self.study.get_trials(deepcopy=False)
        if number == len(trials):
            fixed = number < len(self.own.fixed)
            params = self._point(self.own.fixed[number]) if fixed else self._propose(number, trials)
            begun = optuna.trial.create_trial(
                state=TrialState.RUNNING, params=params, distributions=self.space
            )
            self.study.add_trial(begun)
        found = self.study.get_trials(deepcopy=False)[number]
        return Asked(optuna.Trial(self.study, found._trial_id), self.setting(found))

    def _propose(self, number: int, trials: list[FrozenTrial]) -> dict[str, Any]:
        """Give TPE's proposal; trials of the batch that have no value yet are taken to be bad, so that a batch spreads."""
        name = f"{self.own.name}/{number}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        sampler = TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
        copy = optuna.create_study(direction="maximize", sampler=sampler)
        copy.add_trials(trials)
        return copy.ask(self.space).params

    def setting(self, trial: FrozenTrial) -> list[str]:
        """Give a trial's parameters as overrides."""
        return [
            f"{key}={shown(x) if isinstance(x, float) else x}" for key, x in trial.params.items()
        ]

    def _point(self, setting: list[str]) -> dict[str, Any]:
        """Turn overrides into what optuna calls parameters: a number within its interval, or a value of a list, as text."""
        found: dict[str, Any] = {}
        for key, text in (part.split("=", 1) for part in setting):
            space = self.space[key]
            found[key] = text
            if isinstance(space, FloatDistribution):
                found[key] = min(max(float(text), space.low), space.high)
        return found

    def floor(self, batch: list[Asked]) -> dict[int, float]:
        """Give what the pruner asks of a batch, by epoch: nothing of the first one, or without a pruner."""
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
        """Enter how a trial ended; after an interruption in the middle of it, what is missing."""
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
