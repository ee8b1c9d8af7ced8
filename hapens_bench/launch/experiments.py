"""The trials that an experiment of conf/experiment would run, without running them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hapens_bench.config.compose import once_for_each_choice, unresolved
from hapens_bench.config.outside import outside
from hapens_bench.config.paths import conf_file
from hapens_bench.config.quoting import hydra_value
from hapens_bench.config.sweeps import combinations
from hapens_bench.errors import UserError, did_you_mean
from hapens_bench.launch.budget import method_of, settings, space_of
from hapens_bench.launch.job import Job, composed_job


@dataclass
class Planned:
    """One trial of an experiment.

    `params` are its dataset, sampler, ... as `named` gives them; under a budget, `trial` numbers
    the settings of its method.
    """

    params: dict[str, str]
    trial: int
    setting: list[str]
    job: Job


def read_sweeper(name: str) -> dict[str, Any]:
    """Return the `hydra.sweeper` section of conf/experiment/<name>.yaml.

    Raises:
        UserError: when there is no such experiment.
    """
    config = OmegaConf.load(conf_file("experiment", name))
    assert isinstance(config, DictConfig)
    sections = []
    for base in config.get("defaults", []):
        # another experiment, on which this one builds
        if isinstance(base, str) and base != "_self_":
            sections.append(OmegaConf.create(read_sweeper(base)))
    sweeper = OmegaConf.to_container(
        OmegaConf.merge(*sections, OmegaConf.select(config, "hydra.sweeper", default={}))
    )
    assert isinstance(sweeper, dict)
    return {str(key): value for key, value in sweeper.items()}


def planned(
    name: str,
    runs: Path,
    datasets: Collection[str] = (),
    n_trials: int | None = None,
    samplers: Collection[str] = (),
    archive: Path | None = None,
) -> list[Planned]:
    """Return an experiment's trials, with their run folders below `runs` or in an archive.

    A sweep of the experiment composes the same configs. `datasets` and `samplers` keep only these;
    `n_trials` replaces the experiment's own budget.

    Raises:
        UserError: when there is no such experiment, it has no such data set or sampler, or its
        space cannot be read.
    """
    sweeper = read_sweeper(name)
    overrides = OverridesParser.create().parse_overrides(
        [f"{k}={v}" for k, v in sweeper["params"].items()]
    )
    points = combinations(overrides)
    every = [named(point) for point in points]
    wanted = {key: names for key, names in (("dataset", datasets), ("sampler", samplers)) if names}
    for key, names in wanted.items():
        known = list(dict.fromkeys(params[key] for params in every if key in params))
        if unknown := [repr(wrong) for wrong in names if wrong not in known]:
            what = "data set" if key == "dataset" else key
            raise UserError(
                f"experiment={name} has no {what} {', '.join(unknown)}; choose of {' '.join(known)}"
                + did_you_mean(unknown[0].strip("'"), known)
            )
    trials: list[Planned] = []
    composed = once_for_each_choice(unresolved)
    for combination, params in zip(points, every, strict=True):
        if any(params[key] not in names for key, names in wanted.items()):
            continue
        for trial, setting in enumerate(tries(sweeper, params, n_trials)):
            full = [f"experiment={name}", *combination, *setting]
            folders = [
                f"paths.runs={hydra_value(runs)}",
                f"archive={hydra_value(archive or 'ignore')}",
            ]
            job = composed_job(full, composed, folders)
            trials.append(Planned(params, trial, setting, job))
    return trials


def named(point: Sequence[str]) -> dict[str, str]:
    """Return a combination of overrides by key; where it has no negatives, `sampler` is its model.

    So it is called by what it is compared as.
    """
    params = dict(override.split("=", 1) for override in point)
    if "sampler" in params:
        params["sampler"] = method_of(params["sampler"], params.get("model", "none"))
    return params


def tries(
    sweeper: Mapping[str, Any], params: Mapping[str, str], n_trials: int | None
) -> list[list[str]]:
    """Return the settings of one combination: of its method's budget, or none but itself.

    Raises:
        UserError: when the method has no space, or it cannot be read.
    """
    if "own" not in sweeper:
        return [[]]
    space = space_of(sweeper["own"], params["sampler"])
    n = sweeper["n_trials"] if n_trials is None else n_trials
    return settings(sweeper.get("shared", {}), space, n, sweeper.get("seed", 0))


def jobs_of(words: Sequence[str], places: Sequence[str] = ()) -> list[Job]:
    """Return the trials of `hapens train -m <words>`, in its order; `places` are further overrides.

    Raises:
        UserError: when it is no sweep that can be composed here.
    """
    beside, typed = outside([word for word in words if word not in ("-m", "--multirun")], None)
    try:
        overrides = OverridesParser.create().parse_overrides(typed)
    except HydraException as error:
        raise UserError(f"{' '.join(typed)} cannot be parsed: {error}") from None
    chosen = {override.key_or_group: override.value() for override in overrides}
    sweeper = read_sweeper(str(chosen["experiment"])) if "experiment" in chosen else {}
    n_trials = str(chosen.get("hydra.sweeper.n_trials", ""))
    swept = [f"{key}={value}" for key, value in sweeper.get("params", {}).items()]
    own = [
        text
        for text, override in zip(typed, overrides, strict=True)
        if not override.key_or_group.startswith("hydra")
    ]
    parsed = OverridesParser.create().parse_overrides([*swept, *own])
    composed, jobs = once_for_each_choice(unresolved), []
    for point in combinations(parsed):
        params = named(point)
        for setting in tries(sweeper, params, int(n_trials) if n_trials else None):
            full = [*point, *setting, *beside.overrides]
            jobs.append(composed_job(full, composed, places))
    return jobs
