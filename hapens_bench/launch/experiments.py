"""What an experiment of conf/experiment would run, without running it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from hapens_bench.config.compose import once_for_each_choice, unresolved
from hapens_bench.config.paths import conf_file
from hapens_bench.errors import UserError
from hapens_bench.launch.budget import settings, space_of
from hapens_bench.launch.job import Job


@dataclass
class Planned:
    """One trial of an experiment: its params (dataset, sampler, ...), and, under a budget, which of
    its sampler's settings it is.
    """

    params: dict[str, str]
    trial: int
    setting: list[str]
    job: Job


def read_sweeper(name: str) -> dict[str, Any]:
    """Read the `hydra.sweeper` part of conf/experiment/<name>.yaml.

    Raises:
        UserError: when there is no such experiment.
    """
    config = OmegaConf.load(conf_file("experiment", name))
    assert isinstance(config, DictConfig)
    parts = []
    for base in config.get("defaults", []):
        # another experiment that this one goes on from
        if isinstance(base, str) and base != "_self_":
            parts.append(OmegaConf.create(read_sweeper(base)))
    sweeper = OmegaConf.to_container(
        OmegaConf.merge(*parts, OmegaConf.select(config, "hydra.sweeper", default={}))
    )
    assert isinstance(sweeper, dict)
    return {str(key): value for key, value in sweeper.items()}


def planned(
    name: str,
    runs: Path,
    datasets: Collection[str] = (),
    n_trials: int | None = None,
    samplers: Collection[str] = (),
) -> list[Planned]:
    """List an experiment's trials, with their run folders below `runs`; a sweep of it composes the
    same configs.

    `datasets` and `samplers` keep these only, `n_trials` stands for the experiment's own budget.

    Raises:
        UserError: when there is no such experiment, it has no such data set or sampler, or its
        space cannot be read.
    """
    sweeper = read_sweeper(name)
    overrides = OverridesParser.create().parse_overrides(
        [f"{k}={v}" for k, v in sweeper["params"].items()]
    )
    combinations = [tuple(each) for each in BasicSweeper.split_arguments(overrides, None)[0]]
    every = [dict(part.split("=", 1) for part in each) for each in combinations]
    wanted = {key: names for key, names in (("dataset", datasets), ("sampler", samplers)) if names}
    for key, names in wanted.items():
        known = list(dict.fromkeys(params[key] for params in every if key in params))
        if unknown := [repr(one) for one in names if one not in known]:
            what = "data set" if key == "dataset" else key
            raise UserError(
                f"experiment={name} has no {what} {', '.join(unknown)}; choose of {' '.join(known)}"
            )
    found: list[Planned] = []
    composed = once_for_each_choice(unresolved)
    for combination, params in zip(combinations, every, strict=True):
        if any(params[key] not in names for key, names in wanted.items()):
            continue
        tries: list[list[str]] = [[]]
        if "own" in sweeper:
            own = space_of(sweeper["own"], params["sampler"])
            tries = settings(
                sweeper.get("shared", {}),
                own,
                n_trials or sweeper["n_trials"],
                sweeper.get("seed", 0),
            )
        for trial, setting in enumerate(tries):
            full = [f"experiment={name}", *combination, *setting]
            job = Job(composed([*full, f"paths.runs={runs}"]), full)
            found.append(Planned(params, trial, setting, job))
    return found
