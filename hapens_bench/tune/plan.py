"""The plan of `hapens tune`: the settings of the search, and a study per data set and sampler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser

from hapens_bench.config import sweeps
from hapens_bench.config.compose import once_for_each_choice, unresolved
from hapens_bench.config.identity import config_id
from hapens_bench.config.outside import Outside
from hapens_bench.errors import UserError
from hapens_bench.launch.budget import Sweep, method_of, parse_space, settings, space_of
from hapens_bench.launch.experiments import Planned, read_sweeper
from hapens_bench.launch.job import Job
from hapens_bench.runs.folder import run_folder
from hapens_bench.tune.settings import IDENTITY, KEYS, read_settings
from hapens_bench.tune.spaces import written_space

# The keys that may list several values; where there is no sampler, the model may, too.
SWEPT = ("dataset", "sampler")
NOTHING = Outside()
Composed = Callable[[Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class StudyPlan:
    """One study: its space, the base config of its trials, and the points fixed in advance.

    `sampler` is the model where there is no sampler.
    `overrides` give the base config, `fixed` the settings of the first trials (of all, except for
    TPE), and `composed` composes both. `name` holds a hash of everything that can change which
    trials are proposed or what they find, so the same search resumes the same study.
    """

    name: str
    dataset: str
    sampler: str
    overrides: list[str]
    space: Mapping[str, Sweep]
    fixed: list[list[str]]
    base: Mapping[str, Any]
    composed: Composed

    def planned(self, trial: int, setting: list[str], seeds: int) -> list[Planned]:
        """Compose a trial, once for each of its seeds."""
        config = self.composed([*self.overrides, *setting])
        first, params = config["seed"], {"dataset": self.dataset, "sampler": self.sampler}
        rest = [override for override in self.overrides if not override.startswith("seed=")]
        return [
            Planned(
                params,
                trial,
                setting,
                Job({**config, "seed": seed}, [*rest, *setting, f"seed={seed}"]),
            )
            for seed in range(first, first + seeds)
        ]


@dataclass(frozen=True)
class Plan:
    """A search over samplers and data sets: the settings of conf/tune, `n_trials` per study."""

    name: str
    settings: Mapping[str, Any]
    n_trials: int
    studies: list[StudyPlan]

    @property
    def journal(self) -> Path:
        """The journal of all studies, <paths.runs>/.tune/<name>.journal."""
        return (
            Path(self.studies[0].base["paths"]["runs"]).expanduser()
            / ".tune"
            / f"{self.name}.journal"
        )

    @property
    def monitor(self) -> str:
        """The validation metric by which trials are compared."""
        return str(self.studies[0].base["protocol"]["monitor"])

    @property
    def in_order(self) -> bool:
        """Whether proposals depend on earlier trials."""
        return bool(self.settings["algorithm"] == "tpe")

    @property
    def baseline(self) -> str:
        """The sampler that the others are compared with."""
        return self.settings["baseline"] or self.studies[0].sampler


def make_plan(name: str, typed: Sequence[str], outside: Outside = NOTHING) -> Plan:
    """Read conf/tune/<name>.yaml and what was typed: `tune.KEY=VALUE` and training overrides.

    Samplers of folders outside the checkout bring their spaces with them.

    Raises:
        UserError: for a search that cannot be run.
    """
    chosen = read_settings(name, [text for text in typed if text.startswith("tune.")])
    sweeper = read_sweeper(chosen["experiment"])
    if "own" not in sweeper:
        raise UserError(
            f"experiment={chosen['experiment']} has no hydra.sweeper.own, "
            "so there is no space to search"
        )
    if chosen["seed"] is None:
        chosen["seed"] = sweeper.get("seed", 0)
    n_trials = chosen["n_trials"] or sweeper.get("n_trials")
    if n_trials is None and chosen["algorithm"] != "grid":
        raise UserError(
            f"experiment={chosen['experiment']} has no budget; "
            "take tune.n_trials=16, or tune.algorithm=grid"
        )
    composed, studies = once_for_each_choice(unresolved), []
    for combination in combinations(
        sweeper, [text for text in typed if not text.startswith("tune.")]
    ):
        overrides = [*outside.overrides, f"experiment={chosen['experiment']}", *combination]
        sampler = method(composed(overrides))
        written = written_space(sampler, outside.folders)
        own = space_of(sweeper["own"], sampler) if written is None else written
        studies.append(
            make_study(overrides, sweeper.get("shared", {}), own, n_trials, chosen, composed)
        )
    if chosen["algorithm"] == "grid":
        n_trials = common_size(studies, n_trials)
    assert n_trials is not None
    plan = Plan(name, chosen, n_trials, studies)
    check_plan(plan)
    return plan


def make_study(
    overrides: list[str],
    shared: Mapping[str, str],
    own: Mapping[str, str],
    n_trials: int | None,
    chosen: Mapping[str, Any],
    composed: Composed,
) -> StudyPlan:
    """Plan one study; a key that `overrides` set has that value and is not searched.

    Raises:
        UserError: when the space is empty or cannot be read.
    """
    base = composed(overrides)
    dataset, sampler = base["dataset"]["name"], method(base)
    settled = {override.split("=", 1)[0] for override in overrides}
    shared, own = (
        {key: text for key, text in space.items() if key not in settled} for space in (shared, own)
    )
    fixed = fixed_points(sampler, shared, own, n_trials, chosen)
    digest = _digest(
        {**shared, **own}, {key: chosen[key] for key in IDENTITY}, config_id(base), base["seed"]
    )
    name = f"{dataset}-{base['model']['name']}-{sampler}-{chosen['algorithm']}-{digest}"
    space = parse_space({**shared, **own})
    return StudyPlan(name, dataset, sampler, overrides, space, fixed, base, composed)


def combinations(sweeper: Mapping[str, Any], typed: Sequence[str]) -> list[tuple[str, ...]]:
    """Cross the experiment's data sets and samplers with what was typed, which wins.

    Raises:
        UserError: when anything but data sets and samplers lists several values.
    """
    given = OverridesParser.create().parse_overrides(list(typed))
    names = {override.key_or_group for override in given}
    if hydra := [name for name in names if name.startswith("hydra")]:
        raise UserError(
            f"hapens tune takes no {hydra[0]}; its own settings are tune.{', tune.'.join(KEYS)}"
        )
    params = sweeper.get("params", {})
    inherited = [f"{key}={value}" for key, value in params.items() if key not in names]
    overrides = [*OverridesParser.create().parse_overrides(inherited), *given]
    alone = any(o.key_or_group == "sampler" and o.value() == "none" for o in overrides)
    may = (*SWEPT, "model") if alone else SWEPT
    if listed := [
        o.key_or_group for o in overrides if o.is_sweep_override() and o.key_or_group not in may
    ]:
        raise UserError(
            f"{listed[0]} lists several values, but only {' and '.join(may)} may; "
            "the space is the experiment's"
        )
    return list(dict.fromkeys(sweeps.combinations(overrides)))


def method(config: Mapping[str, Any]) -> str:
    """Return what a config is compared as: its sampler or, where that is none, its model."""
    return method_of(config["sampler"]["name"], config["model"]["name"])


def fixed_points(
    sampler: str,
    shared: Mapping[str, str],
    own: Mapping[str, str],
    n_trials: int | None,
    chosen: Mapping[str, Any],
) -> list[list[str]]:
    """Return the settings that depend on no other trial: a sequence, or the grid in random order.

    Raises:
        UserError: when the space is empty or cannot be read.
    """
    if not {**shared, **own}:
        raise UserError(f"the space of {sampler} is empty: there is nothing to tune")
    if chosen["algorithm"] == "grid":
        grid = settings(shared, own, None, chosen["seed"])
        return [grid[k] for k in np.random.default_rng(chosen["seed"]).permutation(len(grid))]
    wanted = n_trials or 1
    return settings(
        shared,
        own,
        wanted if chosen["algorithm"] == "random" else min(wanted, chosen["startup"]),
        chosen["seed"],
    )


def common_size(studies: Sequence[StudyPlan], n_trials: int | None) -> int:
    """Return the budget of a grid search: `n_trials`, or the whole grids if they have one size.

    Raises:
        UserError: when budgets would not be equal.
    """
    sizes = {study.sampler: len(study.fixed) for study in studies}
    least = min(sizes.values())
    if (n_trials is None and len(set(sizes.values())) > 1) or (n_trials or 0) > least:
        counts = ", ".join(f"{sampler} {size}" for sampler, size in sizes.items())
        raise UserError(
            f"the grids have {counts} points, and budgets must be equal: "
            f"take tune.n_trials of at most {least}"
        )
    return n_trials or least


def check_plan(plan: Plan) -> None:
    """Refuse a search that selects by anything but validation, or that lacks its baseline.

    Raises:
        UserError: with one sentence.
    """
    samplers = [study.sampler for study in plan.studies]
    if plan.baseline not in samplers:
        raise UserError(
            f"tune.baseline is {plan.baseline!r}, "
            f"but the samplers are {', '.join(dict.fromkeys(samplers))}"
        )
    for study in plan.studies:
        selection = study.base["protocol"]["selection"]
        if selection != ["valid"]:
            raise UserError(
                "trials are compared on validation alone: "
                f"take protocol.selection=[valid], not {selection}"
            )


def trial_folder(study: StudyPlan, run_id: str) -> Path:
    """Return the folder of a study's run."""
    return run_folder(study.base).path.with_name(run_id)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
