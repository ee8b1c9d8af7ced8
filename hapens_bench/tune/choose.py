"""The best setting of every sampler under equal budgets, and what more trials would have been worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.analysis.result import Content, picture, write_result
from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import Planned, planned
from hapens_bench.tune.budget_curves import budget_curves, draw_budget_curves
from hapens_bench.tune.gaps import answers, gaps

SECTIONS = ("model", "loss", "sampler", "trainer")  # what a file of conf/tuned may set


@dataclass(frozen=True)
class Written:
    """The chosen rows, a sampler and data set each, and what is to be said of the baseline."""

    chosen: pd.DataFrame
    said: list[str]


def outcomes(trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate what finished trials reached on the validation part, a row a trial; data sets of which nothing was run are left out.

    Raises:
        UserError: where a sampler of a data set has fewer finished trials than the others: budgets would not be equal.
    """
    rows, unfinished, count = [], list[Planned](), Counter[tuple[str, str]]()
    for one in trials:
        dataset, sampler = one.params["dataset"], one.params["sampler"]
        count[dataset, sampler] += 1
        if not one.job.is_done():
            unfinished.append(one)
            continue
        report = one.job.folder.read_summary()["selection"]["valid"]
        found = {"dataset": dataset, "sampler": sampler, "trial": count[dataset, sampler] - 1}
        found |= {"setting": " ".join(one.setting), "value": one.job.objective()}
        found |= {
            "epoch": report["epoch"],
            "converged": report["converged"],
            "run_id": one.job.folder.path.name,
        }
        rows.append(found | {"seeds": str(one.job.config["seed"])})
    if not rows:
        raise UserError("none of its trials has been run; the experiment's file holds the command")
    begun = {row["dataset"] for row in rows}
    missing = [one for one in unfinished if one.params["dataset"] in begun]
    if missing:
        names = sorted({f"{one.params['sampler']} on {one.params['dataset']}" for one in missing})
        raise UserError(
            f"{len(missing)} trials are not finished ({', '.join(names)}), the first: {missing[0].job.command}"
        )
    return pd.DataFrame(rows)


def best(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the row with the highest validation value of each data set and sampler (the earliest of equals).

    Where trials have a `state`, pruned and failed ones are of the budget but cannot be chosen.

    Raises:
        UserError: when a sampler has no finished trial.
    """
    keys = ["dataset", "sampler"]
    frame = frame.assign(trials=frame.groupby(keys, sort=False)["trial"].transform("size"))
    can = frame[frame["state"] == "complete"] if "state" in frame else frame
    groups = can.astype({"value": float}).groupby(keys, sort=False)["value"]
    if groups.ngroups < frame.groupby(keys).ngroups:
        lost = (
            frame.merge(can[keys].drop_duplicates(), how="left", indicator=True)
            .query("_merge == 'left_only'")
            .iloc[0]
        )
        raise UserError(
            f"no trial of {lost['sampler']} on {lost['dataset']} came to its end: {lost['reason']}"
        )
    return can.loc[groups.idxmax()]


def changed(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give what a trial's config sets differently from its sampler's defaults."""
    found = {s: {k: v for k, v in config[s].items() if base[s].get(k, ...) != v} for s in SECTIONS}
    return {section: values for section, values in found.items() if values}


def write_choice(
    names: Sequence[str],
    setting: str,
    runs: Path,
    datasets: Sequence[str],
    samplers: Sequence[str],
    n_trials: Sequence[int],
    out: Path,
) -> Written:
    """Write conf/tuned/<setting>/<dataset>-<model>-<sampler>.yaml for the best trials, and the evidence.

    Several experiments are one budget: every sampler has its trials of all of them. `datasets` and `samplers` keep these only;
    `n_trials` stands for the experiments' own budgets.

    Raises:
        UserError: when budgets are not equal, or there is nothing to choose from.
    """
    budgets: Sequence[int | None] = n_trials or [None] * len(names)
    trials = [
        one
        for name, n in zip(names, budgets, strict=True)
        for one in planned(name, runs, datasets, n, samplers)
    ]
    frame = outcomes(trials)
    by_id = {one.job.folder.path.name: one for one in trials}
    chosen = best(frame)
    summaries = [by_id[run_id].job.folder.read_summary() for run_id in frame["run_id"]]
    monitor = trials[0].job.config["protocol"]["monitor"]
    found = write_evidence(frame, summaries, out / names[0], monitor, str(frame["sampler"].iloc[0]))
    kept = [
        part
        for key, some in (("--dataset", datasets), ("--sampler", samplers))
        if some
        for part in (key, *some)
    ]
    command = " ".join(["hapens choose", ",".join(names), setting, *kept])
    for row in chosen.to_dict("records"):
        write_tuned(setting, by_id[row["run_id"]], row, command, f"results/tuning/{names[0]}")
    return Written(chosen, found)


def write_evidence(
    frame: pd.DataFrame,
    summaries: Sequence[Mapping[str, Any]],
    folder: Path,
    monitor: str,
    baseline: str,
    in_order: bool = False,
) -> list[str]:
    """Write what a choice rests on; give what it says of the baseline, in sentences.

    Of every data set: <folder>/<dataset>.csv (all trials), _budget.csv, .svg and .png (budget curves), _gaps.csv (all pairs of
    samplers, see `gaps`) and .provenance.json.
    """
    curves = budget_curves(frame, in_order)
    said = []
    for dataset, trials in frame.groupby("dataset", sort=False):
        curve = curves[curves["dataset"] == dataset]
        pairs = gaps(trials, curve, in_order)
        contents: dict[str, Content] = {
            ".csv": trials,
            "_budget.csv": curve,
            **picture(draw_budget_curves(curve, monitor), "_budget"),
            "_gaps.csv": pairs,
        }
        used = [summary for summary in summaries if summary["dataset"] == dataset]
        write_result(folder / str(dataset), used, contents)
        said += answers(pairs, baseline, monitor)
    return said


def write_tuned(
    setting: str, one: Planned, row: Mapping[Hashable, Any], command: str, evidence: str
) -> None:
    """Write one file of conf/tuned, with where it comes from on top: the command, and the folder of its evidence."""
    config, dataset, sampler = one.job.config, one.params["dataset"], one.params["sampler"]
    model, monitor = config["model"]["name"], config["protocol"]["monitor"]
    base = compose_config(
        [f"dataset={dataset}", f"model={model}", f"sampler={sampler}", "tuned=none"]
    )
    last = (
        "" if row["converged"] else "; its best epoch is its last one: more epochs might be better"
    )
    seeds = f"seed {row['seeds']}" if " " not in row["seeds"] else f"mean over seeds {row['seeds']}"
    head = [
        f"# {sampler} on {dataset} with {model}: the best of {row['trials']} trials by {monitor} on the validation part",
        f"# ({row['value']:.4f} in epoch {row['epoch']:.0f}, {seeds}{last}).",
        f"# Written by `{command}` from the trials in {evidence}/{dataset}.csv.",
    ]
    path = conf_dir() / "tuned" / setting / f"{dataset}-{model}-{sampler}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = OmegaConf.to_yaml(OmegaConf.create(changed(config, base)))
    path.write_text("\n".join([*head, body]), encoding="utf-8")
