"""Settings, which are runs that differ in nothing but the seed, and their leaderboard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hapens_bench.analysis.labels import differing, names, values
from hapens_bench.analysis.replicates import Replicates, Run
from hapens_bench.config.identity import run_id
from hapens_bench.runs.archive import open_run
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import parse_config

KEYS = ("dataset", "protocol", "model", "sampler", "split_id", "data_hash", "config_id")
MOST = 12  # settings to compare, for each data set, protocol, split and selection


@dataclass
class Setting(Replicates):
    """The finished runs of one config on one data set, seed aside.

    `sections` holds the text of each run's config.yaml (None if it cannot be read), `config` the
    first readable one, and `keys` says how the setting differs from the sampler's other settings.
    """

    dataset: str = ""
    protocol: str = ""
    model: str = ""
    sampler: str = ""
    split_id: str = ""
    data_hash: str = ""
    config_id: str = ""
    sections: list[list[str] | None] = field(default_factory=list)
    config: dict[str, Any] | None = None
    keys: str = ""

    @property
    def validation(self) -> float:
        """The best validation value in percent, averaged over seeds; nan if a run has none."""
        values = [run.get("validation") for run in self.runs]
        return 100 * float(
            np.mean([value if type(value) in (int, float) else math.nan for value in values])
        )

    def selections(self) -> list[str]:
        """Return the selections that its runs report."""
        return list(dict.fromkeys(selection for run in self.runs for selection in run["selection"]))


def settings_of(runs: Sequence[Run], skipped: list[str]) -> list[Setting]:
    """Group runs into settings; unusable ones are added to `skipped`."""
    groups: dict[tuple[str, ...], Setting] = {}
    first: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (*(run[name] for name in KEYS), run["seed"])):
        key = tuple(run[name] for name in KEYS)
        twin = first.setdefault((*key, run["seed"]), run)
        if twin is not run:
            skipped.append(f"{run['folder']}: the same trial as {twin['folder']}")
            continue
        setting = groups.setdefault(key, Setting([], **dict(zip(KEYS, key, strict=True))))
        setting.runs.append(run)
        try:
            sections = open_run(run["folder"]).config_sections()
            config = parse_config(sections)
            if _id_of(config) != run["run_id"]:
                raise DamagedRun(f"config.yaml is not the one of run {run['run_id']}")
            setting.config = setting.config or config
            setting.sections.append(sections)
        except DamagedRun as error:
            skipped.append(f"{run['folder']}: {error}")
            setting.sections.append(None)
    _name(list(groups.values()))
    return list(groups.values())


def _name(settings: Sequence[Setting]) -> None:
    """Set `keys`: how a setting differs from the others of its data set, model and sampler."""
    alike: dict[tuple[str, ...], list[Setting]] = {}
    for setting in settings:
        alike.setdefault((setting.dataset, setting.model, setting.sampler), []).append(setting)
    for group in alike.values():
        known = [setting for setting in group if setting.config is not None]
        # The protocol has a column of its own.
        settled = [values(setting.config or {}, ["protocol.name"]) for setting in known]
        for setting, name in zip(known, names(settled, differing(settled)), strict=True):
            setting.keys = name
        for setting in group:
            if setting.config is None:
                setting.keys = "config unknown"
            if len({member.data_hash for member in group}) > 1:
                setting.keys += f" data={setting.data_hash[:6]}"


def metrics_of(settings: Sequence[Setting]) -> list[str]:
    """Return all metrics, in order of first occurrence."""
    reports = [
        report
        for setting in settings
        for run in setting.runs
        for report in run["selection"].values()
    ]
    return list(dict.fromkeys(metric for report in reports for metric in report["test"]))


def leaderboard(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return the leaderboard as columns, with an entry for each setting and selection.

    They hold n, epochs, convergence, and each metric's mean and deviation in percent, unrounded;
    the sample deviation is None for a single seed.
    """
    rows = [
        (k, selection) for k, setting in enumerate(settings) for selection in setting.selections()
    ]
    reports = [settings[k].reports(selection) for k, selection in rows]
    scores = {
        metric: [list(settings[k].by_seed(selection, metric).values()) for k, selection in rows]
        for metric in metrics_of(settings)
    }
    chosen = {
        (k, selection) for (*_, selection), group in compared(settings).items() for k in group
    }
    return {
        "setting": [k for k, _ in rows],
        "selection": [selection for _, selection in rows],
        "n": [len(seeds) for seeds in reports],
        "first": [min(report["epoch"] for report in seeds) for seeds in reports],
        "last": [max(report["epoch"] for report in seeds) for seeds in reports],
        "converged": [all(report["converged"] for report in seeds) for seeds in reports],
        "best": [row in chosen for row in rows],
        "mean": {
            metric: [_finite(np.mean(v)) if v else None for v in rows_of_metric]
            for metric, rows_of_metric in scores.items()
        },
        "std": {
            metric: [_finite(np.std(v, ddof=1)) if len(v) > 1 else None for v in rows_of_metric]
            for metric, rows_of_metric in scores.items()
        },
    }


def compared(settings: Sequence[Setting]) -> dict[tuple[str, ...], list[int]]:
    """Choose what to compare: the best setting of every model and sampler.

    The choice is made for each data set, protocol, split and selection, and keeps at most MOST
    settings. Best means best on validation or, where one of a sampler's settings has no validation
    value, by the first test metric.
    """
    candidates: dict[tuple[str, ...], dict[tuple[str, str], list[int]]] = {}
    for k, setting in enumerate(settings):
        for selection in setting.selections():
            key = (
                setting.dataset,
                setting.protocol,
                setting.split_id,
                setting.data_hash,
                selection,
            )
            candidates.setdefault(key, {}).setdefault((setting.model, setting.sampler), []).append(
                k
            )
    chosen: dict[tuple[str, ...], list[int]] = {}
    for group, samplers in candidates.items():
        winners = [_ranked(members, settings, group[-1])[0] for members in samplers.values()]
        chosen[group] = _ranked(winners, settings, group[-1])[:MOST]
    return chosen


def _ranked(members: Sequence[int], settings: Sequence[Setting], selection: str) -> list[int]:
    """Return settings from the best to the worst."""
    worth = {k: settings[k].validation for k in members}
    if any(math.isnan(value) for value in worth.values()):
        metric = metrics_of([settings[k] for k in members])[:1]
        worth = {k: _mean_score(settings[k], selection, metric) for k in members}
    return sorted(members, key=lambda k: -worth[k])


def _mean_score(setting: Setting, selection: str, metric: Sequence[str]) -> float:
    scores = [value for name in metric for value in setting.by_seed(selection, name).values()]
    mean = float(np.mean(scores)) if scores else -math.inf
    return -math.inf if math.isnan(mean) else mean


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _id_of(config: Mapping[str, Any]) -> str | None:
    try:
        return run_id(config)
    except (KeyError, TypeError, AttributeError):  # the config of something other than a run
        return None
