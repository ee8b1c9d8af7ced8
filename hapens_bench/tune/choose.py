"""The best setting of every sampler under equal budgets, and the evidence behind the choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.analysis.result import Content, picture, write_result
from hapens_bench.config.compose import compose_config
from hapens_bench.config.outside import WORD
from hapens_bench.config.paths import conf_dir
from hapens_bench.config.quoting import hapens_command, wrapped
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import Planned, planned
from hapens_bench.tune.budget_curves import budget_curves, draw_budget_curves
from hapens_bench.tune.gaps import answers, gaps

SECTIONS = ("model", "loss", "sampler", "trainer")  # that a file of conf/tuned may set
# Settings that the suite ships.
SHIPPED = ("equal", "paper", "reality", "none")


@dataclass(frozen=True)
class Written:
    """The chosen rows, one for each data set and sampler, and sentences on the baseline."""

    chosen: pd.DataFrame
    said: list[str]


def outcomes(trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate what finished trials reached on the validation part, a row for each trial.

    Data sets without any finished trial are left out.

    Raises:
        UserError: when a data set has unfinished trials: budgets would not be equal.
    """
    rows, unfinished, count = [], list[Planned](), Counter[tuple[str, str]]()
    for trial in trials:
        dataset, sampler = trial.params["dataset"], trial.params["sampler"]
        count[dataset, sampler] += 1
        if not trial.job.is_done():
            unfinished.append(trial)
            continue
        report = trial.job.folder.read_summary()["selection"]["valid"]
        rows.append(
            {
                "dataset": dataset,
                "sampler": sampler,
                "trial": count[dataset, sampler] - 1,
                "setting": " ".join(trial.setting),
                "value": trial.job.objective(),
                "epoch": report["epoch"],
                "converged": report["converged"],
                "run_id": trial.job.folder.path.name,
                "seeds": str(trial.job.config["seed"]),
            }
        )
    if not rows:
        raise UserError("none of its trials has been run; the experiment's file holds the command")
    begun = {row["dataset"] for row in rows}
    missing = [trial for trial in unfinished if trial.params["dataset"] in begun]
    if missing:
        params = [trial.params for trial in missing]
        names = sorted({f"{part['sampler']} on {part['dataset']}" for part in params})
        raise UserError(
            f"{len(missing)} trials are not finished ({', '.join(names)}), "
            f"the first: {missing[0].job.command}"
        )
    return pd.DataFrame(rows)


def best(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the row with the best validation value of each data set and sampler.

    Of equal values the earliest wins. Where trials have a `state`, pruned and failed ones count
    towards the budget but cannot be chosen.

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
    """Return what a trial's config sets differently from its sampler's defaults."""
    sections = {
        s: {k: v for k, v in config[s].items() if base[s].get(k, ...) != v} for s in SECTIONS
    }
    return {section: values for section, values in sections.items() if values}


def check_setting(setting: str, ship: bool) -> None:
    """Refuse a name that a folder of conf/tuned cannot have, or that is shipped.

    Raises:
        UserError: with one sentence.
    """
    if not re.fullmatch(r"\w+", setting):
        raise UserError(f"a setting is named by letters, digits and _, not {setting!r}")
    if setting in SHIPPED and not ship:
        raise UserError(
            f"conf/tuned/{setting} is shipped; choose another name for yours, such as mine "
            "(--ship overwrites it)"
        )


def write_choice(
    names: Sequence[str],
    setting: str,
    runs: Path,
    datasets: Sequence[str],
    samplers: Sequence[str],
    n_trials: Sequence[int],
    out: Path,
    archive: Path | None = None,
) -> Written:
    """Write conf/tuned/<setting>/<dataset>-<model>-<sampler>.yaml and the evidence behind it.

    Several experiments form one budget: every sampler has its trials of all of them. `datasets` and
    `samplers` limit the choice; `n_trials` replaces the experiments' own budgets. Trials of
    `archive` count as run.

    Raises:
        UserError: when budgets are not equal, or there is nothing to choose from.
    """
    budgets: Sequence[int | None] = n_trials or [None] * len(names)
    trials = [
        trial
        for name, n in zip(names, budgets, strict=True)
        for trial in planned(name, runs, datasets, n, samplers, archive)
    ]
    frame = outcomes(trials)
    by_id = {trial.job.folder.path.name: trial for trial in trials}
    chosen = best(frame)
    summaries = [by_id[run_id].job.folder.read_summary() for run_id in frame["run_id"]]
    monitor = trials[0].job.config["protocol"]["monitor"]
    said = write_evidence(frame, summaries, out / names[0], monitor, str(frame["sampler"].iloc[0]))
    kept = [
        word
        for option, names_kept in (("--dataset", datasets), ("--sampler", samplers))
        if names_kept
        for word in (option, *names_kept)
    ]
    command = hapens_command("choose", ",".join(names), setting, *kept)
    for row in chosen.to_dict("records"):
        write_tuned(setting, by_id[row["run_id"]], row, command, _named(out / names[0]))
    return Written(chosen, said)


def _named(folder: Path) -> str:
    """Return a folder as a shipped file names it: within the checkout from its root."""
    root = conf_dir().parent
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder)


def write_evidence(
    frame: pd.DataFrame,
    summaries: Sequence[Mapping[str, Any]],
    folder: Path,
    monitor: str,
    baseline: str,
    in_order: bool = False,
) -> list[str]:
    """Write the evidence behind a choice; return what it says of the baseline, in sentences.

    For every data set: <folder>/<dataset>.csv (all trials), _budget.csv, _budget.svg and
    _budget.png (budget curves), _gaps.csv (all pairs of samplers, see `gaps`) and
    .provenance.json.
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
    setting: str, trial: Planned, row: Mapping[Hashable, Any], command: str, evidence: str
) -> None:
    """Write one file of conf/tuned, headed by its command and the folder of its evidence."""
    config, dataset, method = trial.job.config, trial.params["dataset"], trial.params["sampler"]
    model, monitor = config["model"]["name"], config["protocol"]["monitor"]
    sampler = config["sampler"]["name"]
    named = [f"dataset={dataset}", f"model={model}", f"sampler={sampler}", "tuned=none"]
    base = compose_config([o for o in trial.job.overrides if o.startswith(WORD)] + named)
    last = (
        "" if row["converged"] else "; its best epoch is its last one: more epochs might be better"
    )
    seeds = f"seed {row['seeds']}" if " " not in row["seeds"] else f"mean over seeds {row['seeds']}"
    head = [
        f"# {method} on {dataset}{'' if method == model else f' with {model}'}: "
        f"the best of {row['trials']} trials by {monitor} on the validation part",
        f"# ({row['value']:.4f} in epoch {row['epoch']:.0f}, {seeds}{last}).",
        "# Written from the trials in",
        f"#   {evidence}/{dataset}.csv",
        "# by",
        *(f"#   {line}" for line in wrapped(command, 96)),
    ]
    path = conf_dir() / "tuned" / setting / f"{dataset}-{model}-{sampler}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    choice = path.parent.with_suffix(".yaml")
    if not choice.exists():
        choice.write_text(
            f"# Settings chosen by validation: tuned={setting} takes {setting}/*.yaml.\n"
            f"name: {setting}\nrequired: true\n",
            encoding="utf-8",
        )
    body = OmegaConf.to_yaml(OmegaConf.create(changed(config, base)))
    path.write_text("\n".join([*head, body]), encoding="utf-8")
