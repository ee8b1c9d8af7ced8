"""The best setting of every sampler under equal budgets, and what more trials would have been worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from scipy.special import gammaln

from hapens_bench.analysis.drawing import draw_budget_curves, save
from hapens_bench.analysis.experiments import Planned, planned
from hapens_bench.analysis.provenance import provenance
from hapens_bench.config import compose_config, conf_dir
from hapens_bench.errors import UserError

SECTIONS = ("model", "loss", "sampler", "trainer")  # what a file of conf/tuned may set


def outcomes(trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate what finished trials reached on the validation part, a row a trial; data sets of which nothing was run are left out.

    Raises:
        UserError: where a sampler of a data set has fewer finished trials than the others: budgets would not be equal.
    """
    rows, count = [], Counter[tuple[str, str]]()
    for one in trials:
        dataset, sampler = one.params["dataset"], one.params["sampler"]
        count[dataset, sampler] += 1
        if not one.job.folder.is_done():
            continue
        report = one.job.folder.read_summary()["selection"]["valid"]
        found = {"dataset": dataset, "sampler": sampler, "trial": count[dataset, sampler] - 1}
        found |= {"setting": " ".join(one.setting), "value": one.job.objective()}
        found |= {"epoch": report["epoch"], "converged": report["converged"], "run_id": one.job.folder.path.name}
        rows.append(found)
    if not rows:
        raise UserError("none of its trials has been run; the experiment's file holds the command")
    begun = {row["dataset"] for row in rows}
    missing = [one for one in trials if one.params["dataset"] in begun and not one.job.folder.is_done()]
    if missing:
        names = sorted({f"{one.params['sampler']} on {one.params['dataset']}" for one in missing})
        raise UserError(
            f"{len(missing)} trials are not finished ({', '.join(names)}), the first: {missing[0].job.command}"
        )
    return pd.DataFrame(rows)


def best(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the row with the highest validation value of each data set and sampler (the earliest of equals)."""
    groups = frame.groupby(["dataset", "sampler"], sort=False)["value"]
    return frame.assign(trials=groups.transform("size")).loc[groups.idxmax()]


def budget_curve(values: Sequence[float]) -> pd.DataFrame:
    r"""Give what the best of n trials is worth, n = 1..N, if the N that were run had come in random order.

    P(best of n is the k-th smallest) = C(k-1, n-1) / C(N, n); columns n, expected, low and high (10% and 90% quantiles).
    """
    v = np.sort(np.asarray(values, dtype=float))
    N = len(v)
    k = np.arange(1, N + 1)
    rows = []
    for n in range(1, N + 1):
        with np.errstate(divide="ignore"):
            logs = np.where(k >= n, _log_choose(k - 1, n - 1), -np.inf)
        p = np.exp(logs - _log_choose(N, n))
        reached = np.cumsum(p)
        quantile = {name: v[np.searchsorted(reached, q - 1e-9)] for name, q in (("low", 0.1), ("high", 0.9))}
        rows.append({"n": n, "expected": float(p @ v), **quantile})
    return pd.DataFrame(rows)


def budget_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the budget curve of every data set and sampler."""
    parts = [
        budget_curve(part["value"].tolist()).assign(dataset=str(dataset), sampler=str(sampler))
        for (dataset, sampler), part in frame.groupby(["dataset", "sampler"], sort=False)
    ]
    return pd.concat(parts, ignore_index=True)[["dataset", "sampler", "n", "expected", "low", "high"]]


def changed(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give what a trial's config sets differently from its sampler's defaults."""
    found = {s: {k: v for k, v in config[s].items() if base[s].get(k, ...) != v} for s in SECTIONS}
    return {section: values for section, values in found.items() if values}


def write_choice(
    names: Sequence[str], setting: str, runs: Path, datasets: Sequence[str], n_trials: Sequence[int], out: Path
) -> pd.DataFrame:
    """Write conf/tuned/<setting>/<dataset>-<model>-<sampler>.yaml for the best trials, and the evidence; give the chosen rows.

    Several experiments are one budget: every sampler has its trials of all of them. `n_trials` stands for their own budgets. The
    evidence of a data set is <out>/<first name>/<dataset>.csv (all trials), _budget.csv, .svg and .png (budget curves) and
    .provenance.json.

    Raises:
        UserError: when budgets are not equal, or there is nothing to choose from.
    """
    budgets: Sequence[int | None] = n_trials or [None] * len(names)
    trials = [one for name, n in zip(names, budgets, strict=True) for one in planned(name, runs, datasets, n)]
    frame = outcomes(trials)
    curves, chosen = budget_curves(frame), best(frame)
    by_id = {one.job.folder.path.name: one for one in trials}
    parts = dict(iter(frame.groupby("dataset", sort=False)))
    origins = {
        name: provenance([by_id[run_id].job.folder.read_summary() for run_id in part["run_id"]], _files(name))
        for name, part in parts.items()
    }
    for row in chosen.to_dict("records"):
        write_tuned(names, setting, by_id[row["run_id"]], row)
    for dataset, part in parts.items():
        stem = out / names[0] / str(dataset)
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".provenance.json").write_text(origins[dataset], encoding="utf-8")
        part.to_csv(stem.with_suffix(".csv"), index=False, float_format="%.6g")
        curve = curves[curves["dataset"] == dataset]
        curve.to_csv(f"{stem}_budget.csv", index=False, float_format="%.6g")
        save(draw_budget_curves(curve, trials[0].job.config["protocol"]["monitor"]), Path(f"{stem}_budget"))
    return chosen


def write_tuned(names: Sequence[str], setting: str, one: Planned, row: Mapping[Hashable, Any]) -> None:
    """Write one file of conf/tuned, with where it comes from on top."""
    config, dataset, sampler = one.job.config, one.params["dataset"], one.params["sampler"]
    model, monitor = config["model"]["name"], config["protocol"]["monitor"]
    base = compose_config([f"dataset={dataset}", f"model={model}", f"sampler={sampler}", "tuned=none"])
    last = "" if row["converged"] else "; its best epoch is its last one: more epochs might be better"
    head = [
        f"# {sampler} on {dataset} with {model}: the best of {row['trials']} trials by {monitor} on the validation part",
        f"# ({row['value']:.4f} in epoch {row['epoch']}, seed {config['seed']}{last}).",
        f"# Written by `hapens choose {','.join(names)} {setting}` from the trials in results/tuning/{names[0]}/{dataset}.csv.",
    ]
    path = conf_dir() / "tuned" / setting / f"{dataset}-{model}-{sampler}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = OmegaConf.to_yaml(OmegaConf.create(changed(config, base)))
    path.write_text("\n".join([*head, body]), encoding="utf-8")


def _files(dataset: object) -> list[str]:
    return [f"{dataset}{end}" for end in (".csv", "_budget.csv", "_budget.svg", "_budget.png")]


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k + 1, 1e-300))
