"""Settings: runs that differ in nothing but the seed, and the leaderboard that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.analysis.labels import differing, names, values
from hapens_bench.analysis.replicates import Replicates, Run
from hapens_bench.config.identity import run_id
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder, parse_config

KEYS = ("dataset", "protocol", "model", "sampler", "split_id", "data_hash", "config_id")
MOST = (
    12  # settings that are compared with one another, of a data set, protocol, split and selection
)


@dataclass
class Setting(Replicates):
    """The finished runs of one config on one data set, seed aside.

    `sections` holds the text of each run's config.yaml (None: it cannot be read), `config` what the first readable one says, `keys`
    in what the setting differs from the sampler's other settings.
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
        """The mean over seeds of the best value on the validation part, in percent; nan where a run has none."""
        found = [run.get("validation") for run in self.runs]
        return 100 * float(
            np.mean([value if type(value) in (int, float) else math.nan for value in found])
        )

    def selections(self) -> list[str]:
        """Give the selections that its runs report."""
        return list(dict.fromkeys(selection for run in self.runs for selection in run["selection"]))


def settings_of(runs: Sequence[Run], skipped: list[str]) -> list[Setting]:
    """Group runs into settings; what cannot be used is added to `skipped`."""
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
            sections = RunFolder(Path(run["folder"])).config_sections()
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
    """Say of each setting in what it differs from those of the same data set, model and sampler."""
    alike: dict[tuple[str, ...], list[Setting]] = {}
    for setting in settings:
        alike.setdefault((setting.dataset, setting.model, setting.sampler), []).append(setting)
    for group in alike.values():
        known = [setting for setting in group if setting.config is not None]
        found = [
            values(setting.config or {}, ["protocol.name"]) for setting in known
        ]  # the protocol has a column
        for setting, name in zip(known, names(found, differing(found)), strict=True):
            setting.keys = name
        for setting in group:
            if setting.config is None:
                setting.keys = "config unknown"
            if len({one.data_hash for one in group}) > 1:
                setting.keys += f" data={setting.data_hash[:6]}"


def metrics_of(settings: Sequence[Setting]) -> list[str]:
    """Give all metrics, in the order in which they first occur."""
    reports = [
        report
        for setting in settings
        for run in setting.runs
        for report in run["selection"].values()
    ]
    return list(dict.fromkeys(metric for report in reports for metric in report["test"]))


def leaderboard(settings: Sequence[Setting]) -> dict[str, Any]:
    """Give columns with an entry for each setting and selection: n, epochs, converged, each metric's mean and deviation in percent.

    Numbers are those of the ledger, unrounded; the sample deviation is None for a single seed.
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
        "n": [len(found) for found in reports],
        "first": [min(report["epoch"] for report in found) for found in reports],
        "last": [max(report["epoch"] for report in found) for found in reports],
        "converged": [all(report["converged"] for report in found) for found in reports],
        "best": [row in chosen for row in rows],
        "mean": {
            metric: [_finite(np.mean(v)) if v else None for v in found]
            for metric, found in scores.items()
        },
        "std": {
            metric: [_finite(np.std(v, ddof=1)) if len(v) > 1 else None for v in found]
            for metric, found in scores.items()
        },
    }


def compared(settings: Sequence[Setting]) -> dict[tuple[str, ...], list[int]]:
    """Choose what is compared: of each data set, protocol, split and selection the best setting of every model and sampler.

    Best on validation; where one of a sampler's settings has no validation value, by the first test metric. At most MOST of them.
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
    found: dict[tuple[str, ...], list[int]] = {}
    for group, samplers in candidates.items():
        winners = [_ranked(members, settings, group[-1])[0] for members in samplers.values()]
        found[group] = _ranked(winners, settings, group[-1])[:MOST]
    return found


def _ranked(members: Sequence[int], settings: Sequence[Setting], selection: str) -> list[int]:
    """Order settings from the best to the worst."""
    worth = {k: settings[k].validation for k in members}
    if any(math.isnan(value) for value in worth.values()):
        metric = metrics_of([settings[k] for k in members])[:1]
        worth = {k: _mean_score(settings[k], selection, metric) for k in members}
    return sorted(members, key=lambda k: -worth[k])


def _mean_score(setting: Setting, selection: str, metric: Sequence[str]) -> float:
    scores = [value for name in metric for value in setting.by_seed(selection, name).values()]
    found = float(np.mean(scores)) if scores else -math.inf
    return -math.inf if math.isnan(found) else found


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _id_of(config: Mapping[str, Any]) -> str | None:
    try:
        return run_id(config)
    except (KeyError, TypeError, AttributeError):  # of something else than a run
        return None
