"""Run folders as finished trials would leave them, with numbers that are easy to work out."""

import math

from omegaconf import OmegaConf

from hapens_bench.config.identity import config_id, run_id, split_id
from hapens_bench.runs.folder import RunFolder
from tests.conftest import make_config

EPOCHS = 12
HARDNESS = {"rns": 0.5, "dns": 0.9, "ahns": 0.7}


def write_run(
    root, *overrides, stages=("held", "full"), epochs=EPOCHS, pack_size=1, **summary
) -> RunFolder:
    """Write a run: hardness by sampler and seed, metrics that rise by 0.0001 an epoch."""
    config = make_config("tuned=none", *overrides)
    names = {key: config[key]["name"] for key in ("dataset", "model", "protocol", "sampler")}
    folder = RunFolder(root / names["dataset"] / names["model"] / names["sampler"] / run_id(config))
    folder.write_config(OmegaConf.to_yaml(OmegaConf.create(config)))
    folder.write_history(
        [row for stage in stages for row in _rows(stage, config, epochs, pack_size)]
    )
    test = {metric: 0.04 + 0.001 * config["seed"] for metric in config["protocol"]["metrics"]}
    reports = {
        name: {"epoch": 5, "converged": True, "test": test}
        for name in config["protocol"]["selection"]
    }
    ids = {"run_id": run_id(config), "config_id": config_id(config), "split_id": split_id(config)}
    found = {
        **ids,
        **names,
        "seed": config["seed"],
        "data_hash": "h",
        "git_sha": "g",
        "validation": 0.05,
    }
    folder.write_summary(found | {"selection": reports} | summary)
    folder.write_status("done")
    return folder


def _rows(stage, config, epochs, pack_size):
    hard = HARDNESS.get(config["sampler"]["name"], 0.6) + 0.01 * config["seed"]
    part = {"held": "valid", "full": "test"}[stage]
    for epoch in range(epochs):
        due = epoch % 5 == 0
        row = {"stage": stage, "epoch": epoch, "evaluated": due, "pack_size": pack_size}
        row["seconds"] = (10 if due else 1) * (
            1 + ["rns", "dns", "ahns", "ssm"].index(config["sampler"]["name"])
        )
        for name in ("ratio", "sigmoid", "percentile"):
            row |= {
                f"hardness/{name}": hard,
                f"hardness/{name}_q10": hard - 0.2,
                f"hardness/{name}_q90": hard + 0.1,
            }
        row["hardness/false_negative_rate"] = hard / 1000
        metrics = {
            f"{part}/{metric}": 0.04 + 1e-4 * epoch if due else math.nan
            for metric in ("Recall@20", "NDCG@20", "Popularity@20")
        }
        yield row | metrics
