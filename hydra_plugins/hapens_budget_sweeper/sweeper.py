"""Registers the sweepers: `hydra/sweeper=budget`, and `basic`, which replaces Hydra's own."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from hapens_bench.config.sweeps import combinations
from hapens_bench.launch.budget import method_of, settings, space_of
from hapens_bench.tracking.naming import SWEEP


class CrossSweeper(BasicSweeper):
    """Hydra's basic sweeper, but the jobs are checked before any trains, and share one table.

    Quoted texts stay quoted.

    The launchers of this package do both. For Hydra's own, which call the program once a job, it is
    done here.
    """

    def split_arguments(
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        jobs = [list(combination) for combination in combinations(overrides)]
        size = max_batch_size or max(1, len(jobs))
        return [jobs[at : at + size] for at in range(0, len(jobs), size)] or [[]]

    def sweep(self, arguments: list[str]) -> Any:
        self.jobs: list[Any] = []
        try:
            returns = super().sweep(arguments)
        except Exception:
            self.show()
            raise
        finally:
            os.environ.pop(SWEEP, None)
        self.show()
        return returns

    def show(self) -> None:
        if self.jobs:
            from hapens_bench.launch.sweep import show_ended

            show_ended(self.jobs)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        if getattr(self.launcher, "composes_and_checks", False):
            return
        from hapens_bench.launch.sweep import checked
        from hapens_bench.launch.swept import sweep_of

        def compose(overrides: Sequence[str]) -> DictConfig:
            return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))

        jobs = checked(batch, compose)
        self.jobs += jobs
        os.environ[SWEEP] = json.dumps(sweep_of(jobs))


class BudgetSweeper(CrossSweeper):
    """Crosses `params` and the command line; each combination gets equally many settings."""

    def __init__(
        self,
        n_trials: int | None,
        seed: int,
        shared: Mapping[str, str],
        own: Mapping[str, Mapping[str, str]],
        params: dict[str, str] | None = None,
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.n_trials, self.seed, self.shared, self.own = n_trials, seed, shared, own

    def split_arguments(
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return one batch: every combination of the overrides in every setting of its method."""
        (crossed,) = super().split_arguments(overrides, max_batch_size)
        jobs = []
        for combination in crossed:
            chosen = dict(override.split("=", 1) for override in combination)
            names = (chosen.get(key, self.config[key].name) for key in ("sampler", "model"))
            space = space_of(self.own, method_of(*names))
            jobs += [
                combination + setting
                for setting in settings(self.shared, space, self.n_trials, self.seed)
            ]
        return [jobs]


@dataclass
class CrossSweeperConf:
    _target_: str = "hydra_plugins.hapens_budget_sweeper.sweeper.CrossSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


@dataclass
class BudgetSweeperConf:
    _target_: str = "hydra_plugins.hapens_budget_sweeper.sweeper.BudgetSweeper"
    n_trials: int | None = 12  # of every sampler on every data set; null: the whole grid
    seed: int = 0  # of the settings
    shared: dict[str, Any] = field(default_factory=dict)  # key: values, for all samplers
    own: dict[str, Any] = field(
        default_factory=dict
    )  # sampler or, without one, model: {key: values}
    params: dict[str, str] | None = None


for name, node in {"basic": CrossSweeperConf, "budget": BudgetSweeperConf}.items():
    ConfigStore.instance().store(
        group="hydra/sweeper", name=name, node=node, provider="hapens_bench"
    )
