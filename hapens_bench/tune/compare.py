"""A new sampler beside the archived methods of a table: its search, its runs, the comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from hapens_bench.analysis.tables.baselines import Baselines
from hapens_bench.analysis.tables.definition import Cell, Run, common_overrides
from hapens_bench.config.compose import once_for_each_choice, unresolved
from hapens_bench.config.identity import config_id
from hapens_bench.config.outside import Outside
from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.launch.budget import IntervalSweep, parse_space, values
from hapens_bench.launch.experiments import read_sweeper
from hapens_bench.launch.job import Config, Job, load_split, prepare
from hapens_bench.launch.results import show_failures
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.runs.archive import listed
from hapens_bench.termination import listening
from hapens_bench.tune.choose import best, changed
from hapens_bench.tune.plan import Plan, check_plan, make_study
from hapens_bench.tune.settings import read_settings
from hapens_bench.tune.spaces import written_space
from hapens_bench.tune.words import Words

TRIALS = 8  # at the papers' settings, where no budget is to be equalled


@dataclass(frozen=True)
class Contest:
    """A sampler, named by words and found in `outside` or conf/, against archived baselines."""

    words: Words
    outside: Outside
    baselines: Baselines
    archive: Path

    @cached_property
    def composed(self) -> Callable[[Sequence[str]], dict[str, Any]]:
        """Compose overrides."""
        return once_for_each_choice(unresolved)

    @cached_property
    def row(self) -> list[str]:
        """The overrides of the sampler's row without its searched settings.

        They are the table's. Under equal budgets they name no file of conf/tuned, because the
        search takes its place.
        """
        common = common_overrides(self.baselines.definition, self.words.dataset)
        if self.baselines.search:
            common = [word for word in common if not word.startswith("tuned=")] + ["tuned=none"]
        return [*self.outside.overrides, *self._choices, *common, *self._typed]

    @property
    def _choices(self) -> list[str]:
        return [f"dataset={self.words.dataset}", f"sampler={self.words.sampler}"]

    @property
    def _typed(self) -> list[str]:
        archive = f"archive={hydra_value(self.archive.absolute())}"
        return [*self.words.own, *self.words.machine, archive]

    @cached_property
    def config(self) -> Config:
        """The config of the row."""
        return self.composed(self.row)

    @property
    def name(self) -> str:
        """The sampler's name, by which its row goes."""
        return str(self.config["sampler"]["name"])

    def check(self) -> None:
        """Refuse what cannot be compared, before any training.

        Raises:
            UserError: when the table has a row of this name, the config cannot be trained, or the
            baselines saw other data.
        """
        table, names = self.baselines.table, [cell.sampler for cell in self.baselines.cells]
        if self.name in names:
            raise UserError(
                f"{self.name} is a row of table {table} already: hapens table {table} tests it"
            )
        prepare([Job(self.config, self.row)])
        mine = load_split(self.config).data_hash
        for cell in self.baselines.cells:
            theirs = cell.runs[0]["data_hash"]
            if theirs != mine:
                raise UserError(
                    f"the archived runs of {cell.sampler} were made on other data ({theirs}) than "
                    f"{self.words.dataset} has here ({mine}), so they cannot be compared with"
                )

    def space(self) -> dict[str, str]:
        """Return what is searched of the sampler's own: its folder's file, and typed lists.

        A key that is typed with one value has that value.
        """
        space = written_space(self.name, self.outside.folders) or {}
        settled = {word.partition("=")[0] for word in self.words.own}
        return {
            key: text for key, text in {**space, **self.words.space}.items() if key not in settled
        }

    def plans(self, trials: int | None) -> list[Plan]:
        """Return the searches, one after another; none where the settings are taken as they stand.

        Under equal budgets there is one for each experiment that the table's methods had. At the
        papers' settings `trials` says how many (None: 8; 1: no search).

        Raises:
            UserError: when `trials` would make budgets unequal, or there is nothing to search.
        """
        table = self.baselines.table
        if not self.baselines.search:
            return self._own_plan(trials)
        if trials is not None:
            raise UserError(
                f"table {table} has equal budgets, so the trials are as many as its methods had "
                f"({sum(self.baselines.search.values())} on {self.words.dataset}); --trials is for "
                "tables at the papers' settings"
            )
        plans = []
        for experiment, n in self.baselines.search.items():
            sweeper = read_sweeper(experiment)
            own = self.space() or sweeper.get("own", {}).get(self.name, {})
            overrides = [*self.outside.overrides, f"experiment={experiment}"]
            overrides += [*self._choices, *self._typed]
            settings = self._settings(n, experiment, sweeper.get("seed", 0))
            plans.append(self._plan(overrides, sweeper.get("shared", {}), own, settings))
        return plans

    def _own_plan(self, trials: int | None) -> list[Plan]:
        space, n = self.space(), TRIALS if trials is None else trials
        if n == 1 or (trials is None and not space):
            return []
        if not space:
            raise UserError(
                f"there is nothing to search in {n} trials: list values, such as "
                f"sampler.KEY=4,8,16, or write space/{self.name}.yaml; "
                "--trials 1 takes the settings as they stand"
            )
        settings = self._settings(n, None, 0)
        sweeps = parse_space(space)
        if not any(isinstance(sweep, IntervalSweep) for sweep in sweeps.values()):
            size = math.prod(len(values(key, sweep)) for key, sweep in sweeps.items())
            if size <= n:  # each point once
                settings |= {"algorithm": "grid", "n_trials": size}
        overrides = [*self.row, "protocol.selection=[valid]"]
        return [self._plan(overrides, {}, space, settings)]

    def _settings(self, n: int, experiment: str | None, seed: int) -> dict[str, Any]:
        words = [] if experiment is None else [f"tune.experiment={experiment}"]
        settings = read_settings("compare", [*self.words.search, *words])
        return {
            **settings,
            "n_trials": n,
            "seed": seed if settings["seed"] is None else settings["seed"],
        }

    def _plan(
        self,
        overrides: list[str],
        shared: Mapping[str, str],
        own: Mapping[str, str],
        settings: dict[str, Any],
    ) -> Plan:
        n = settings["n_trials"]
        study = make_study(overrides, shared, own, n, settings, self.composed)
        plan = Plan(f"compare-{self.words.dataset}-{self.name}", settings, n, [study])
        check_plan(plan)
        return plan

    def jobs(self, setting: Sequence[str]) -> list[Job]:
        """Return the row's trials: the settings that were chosen, with the baselines' seeds."""
        words = [[*self.row, *setting, f"seed={seed}"] for seed in self.baselines.seeds]
        return [Job(self.composed(each), each) for each in words]

    def cell(self, jobs: Sequence[Job]) -> Cell:
        """Return the row's cell of the table, from finished jobs."""
        runs: list[Run] = [listed(job.folder) for job in jobs]
        overrides = [word for word in jobs[0].overrides if not word.startswith("seed=")]
        identity = config_id(jobs[0].config)
        return Cell(
            runs,
            dataset=self.words.dataset,
            sampler=self.name,
            overrides=overrides,
            config_id=identity,
        )

    def definition(self) -> dict[str, Any]:
        """Return the table's definition with the archived rows and the sampler's, which is tested.

        The paper's numbers are left out: it has none for the new row.
        """
        known = {key: value for key, value in self.baselines.definition.items() if key != "paper"}
        rows = {cell.sampler: cell.overrides for cell in self.baselines.cells}
        return {
            **known,
            "title": f"{self.name} beside {known['title']}",
            "samplers": {**rows, self.name: self.row},
            "overrides": [],
            "datasets": [self.words.dataset],
            "compare": self.name,
        }


@dataclass(frozen=True)
class Found:
    """What the search found: all trials (None: no search), and the words of the best one."""

    trials: pd.DataFrame | None = None
    setting: Sequence[str] = ()

    @property
    def winner(self) -> Mapping[Any, Any]:
        """The row of the best trial."""
        assert self.trials is not None
        return best(self.trials).to_dict("records")[0]

    @property
    def table(self) -> pd.DataFrame:
        """The trials as they are written, numbered through."""
        assert self.trials is not None
        shown = self.trials.drop(columns=["part", "command", "run_ids"])
        return shown.assign(trial=range(len(shown)))


def search(contest: Contest, plans: Sequence[Plan], console: Console) -> Found:
    """Use up the budget, and return the trial that is best on validation.

    Its words are what its config sets differently from the row's.

    Raises:
        UserError: when a trial cannot be trained, or none came to its end.
    """
    if not plans:
        return Found()
    from hapens_bench.tune import loop  # brings optuna, which no one needs without a search

    frames = [loop.search(plan, console).assign(part=k) for k, plan in enumerate(plans)]
    trials = pd.concat(frames, ignore_index=True)
    winner = Found(trials).winner
    config = loop.chosen(plans[winner["part"]], winner).job.config
    setting = [
        f"{section}.{key}={hydra_value(value)}"
        for section, keys in changed(config, contest.config).items()
        for key, value in keys.items()
    ]
    return Found(trials, setting)


def train(jobs: Sequence[Job], console: Console) -> None:
    """Train what is not done.

    Raises:
        TrialFailed: when a trial did not come to its end.
    """
    prepare(jobs)
    with listening():
        train_jobs(jobs, on_devices(), console)
    show_failures(jobs, console)
    if wrong := [job for job in jobs if job.state != "done"]:
        raise TrialFailed(f"{len(wrong)} of {len(jobs)} runs are not done, so there is no table")
