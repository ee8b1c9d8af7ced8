"""Run folders as finished trials leave them, with random numbers; and their reports."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.analysis.report import page
from hapens_bench.config.identity import config_id, run_id, split_id
from hapens_bench.runs.folder import RunFolder
from tests.conftest import make_config

METRICS = ("Recall@20", "NDCG@20", "NDCG@50", "Recall@50", "Precision@20", "HitRate@20", "MRR@20")
ELEMENT = re.compile(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', re.DOTALL)
SELECTIONS = ("test_peak", "valid", "valid_refit")


def config_of(dataset: str, sampler: str, seed: int, *changes: str) -> dict:
    return make_config(
        f"dataset={dataset}", f"sampler={sampler}", "tuned=none", *changes, f"seed={seed}"
    )


def make_run(
    root: Path,
    dataset="tools",
    sampler="rns",
    seed=0,
    changes=(),
    level=0.05,
    users=40,
    epochs=12,
    said=None,
) -> RunFolder:
    """Write a finished run; scores lie around `level`, and `said` overrides its summary."""
    config = config_of(dataset, sampler, seed, *changes)
    folder = RunFolder(root / dataset / "mf" / sampler / run_id(config))
    rng = np.random.default_rng([seed, int(config_id(config), 16)])
    scores = level + rng.normal(0, 0.01, (len(SELECTIONS), users, len(METRICS)))
    frames = [
        pd.DataFrame(part, columns=list(METRICS)).assign(selection=selection, user=range(users))
        for selection, part in zip(SELECTIONS, scores, strict=True)
    ]
    reports = {
        selection: {
            "epoch": 5 + seed,
            "converged": sampler != "dns",
            "test": dict(zip(METRICS, map(float, part.mean(0)))),
        }
        for selection, part in zip(SELECTIONS, scores, strict=True)
    }
    found = {
        "run_id": folder.path.name,
        "config_id": config_id(config),
        "split_id": split_id(config),
        "dataset": dataset,
        "protocol": config["protocol"]["name"],
        "model": config["model"]["name"],
        "sampler": sampler,
        "seed": seed,
        "selection": reports,
        "validation": level,
        "data_hash": f"data of {dataset}",
        "git_sha": "0123456789abcdef",
        "versions": {"python": "3.11"},
        "epochs_trained": 24,
        "train_seconds": 1.5,
        "peak_memory_mb": 100.0,
    }
    folder.write_config(OmegaConf.to_yaml(OmegaConf.create(config)))
    folder.write_history(
        [row for stage in ("held", "full") for row in history(stage, epochs, level, rng)]
    )
    folder.write_users(pd.concat(frames, ignore_index=True))
    folder.write_summary(found | (said or {}))
    folder.write_status("done")
    return folder


def history(stage: str, epochs: int, level: float, rng: np.random.Generator) -> list[dict]:
    judged = {"held": "valid", "full": "test"}[stage]
    rows = []
    for epoch in range(epochs):
        hardness = rng.random(4)
        row = {"epoch": epoch, "stage": stage, "train/loss": 0.5}
        row |= dict(
            zip(
                [
                    f"hardness/{name}"
                    for name in ("ratio", "percentile", "sigmoid", "false_negative_rate")
                ],
                hardness,
            )
        )
        due = epoch % 5 == 0 or epoch == epochs - 1
        row |= {
            f"{judged}/{metric}": level * rng.random() if due else float("nan")
            for metric in METRICS
        }
        rows.append(row)
    return rows


def some_runs(root: Path) -> None:
    """Write two data sets, three samplers and two seeds (one on `phones`).

    dns is on `tools` in another setting too.
    """
    for dataset, seeds in (("tools", (0, 1)), ("phones", (0,))):
        for k, sampler in enumerate(("rns", "dns", "ahns")):
            for seed in seeds:
                make_run(root, dataset, sampler, seed, level=0.05 + 0.01 * k)
    for seed in (0, 1):
        make_run(root, "tools", "dns", seed, ("sampler.M=16", "trainer.lr=0.002"), level=0.055)


def thousand_runs(root: Path) -> None:
    """Write 1,000 trials of 100 epochs: two seeds of 500 settings on 5 data sets.

    Most differ only in ids and test scores.
    """
    for dataset in ("tools", "phones", "sports", "gowalla", "ml-1m"):
        for sampler in ("rns", "dns", "ahns", "mixgcf", "dens"):
            for seed in (0, 1):
                first = make_run(root, dataset, sampler, seed, epochs=100)
                summary, text = first.read_summary(), (first.path / "config.yaml").read_text()
                config = config_of(dataset, sampler, seed)
                for k in range(1, 20):
                    changed = config | {"trainer": config["trainer"] | {"lr": k / 10_000 + 0.005}}
                    folder = first.path.with_name(run_id(changed))
                    shutil.copytree(first.path, folder)
                    (folder / "config.yaml").write_text(
                        text.replace("lr: 0.001", f"lr: {changed['trainer']['lr']}")
                    )
                    ids = {
                        "run_id": folder.name,
                        "config_id": config_id(changed),
                        "validation": 0.01 * k,
                    }
                    test = {
                        metric: value + 0.001 * k
                        for metric, value in summary["selection"]["valid"]["test"].items()
                    }
                    reports = {
                        name: report | {"test": test}
                        for name, report in summary["selection"].items()
                    }
                    (folder / "summary.json").write_text(
                        json.dumps(summary | ids | {"selection": reports})
                    )
                    RunFolder(folder).write_status("done")


def made(root: Path, out: Path) -> dict:
    """Write a report and read its data back."""
    page.write_report(root, out)
    return {name: json.loads(text) for name, text in ELEMENT.findall(out.read_text())}
