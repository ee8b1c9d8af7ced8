"""Finished trials of an experiment that was never run."""

import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.runs.folder import RunFolder


def fill(trials, rows) -> None:
    """Write run folders as a finished trial would have."""
    for k, one in enumerate(trials):
        folder = RunFolder(one.job.folder.path)
        folder.write_config(OmegaConf.to_yaml(OmegaConf.create(dict(one.job.config))))
        folder.write_history(rows(k, one))
        if one.job.config["protocol"].get("relabel"):
            folder.write_indicators(remembered(k))
        test = {metric: 0.04 + 0.001 * k for metric in one.job.config["protocol"]["metrics"]}
        summary = {
            "run_id": folder.path.name,
            "config_id": "c",
            "model": "mf",
            "git_sha": "g",
            "data_hash": "h",
            "seed": 0,
        }
        summary |= {"dataset": one.params["dataset"], "sampler": one.params["sampler"]}
        report = {"epoch": 1, "converged": True, "test": test}
        folder.write_summary(
            summary | {"selection": dict.fromkeys(one.job.config["protocol"]["selection"], report)}
        )
        folder.write_status("done")


def history(k, one, pack_size=1):
    stage, part = (
        ("full", "test")
        if "test_peak" in one.job.config["protocol"]["selection"]
        else ("held", "valid")
    )
    return [
        {
            "stage": stage,
            "epoch": epoch,
            "evaluated": epoch % 5 == 0,
            "seconds": (k + 1) * (10.0 if epoch % 5 == 0 else 1.0),
            "hardness/ratio": 0.5 + k - 0.01 * epoch,
            "hardness/percentile": 0.9,
            "pack_size": pack_size,
        }
        | {
            f"{part}/{metric}": 0.04 + 0.0001 * epoch if epoch % 5 == 0 else float("nan")
            for metric in one.job.config["protocol"]["metrics"]
        }
        for epoch in range(12)
    ]


def remembered(k, users=50):
    """A false negative's H exceeds that of two thirds of its user's true ones; G is the same."""
    pairs = [(u, kind, m) for u in range(users) for kind, n in ((0, 6), (1, 1)) for m in range(n)]
    frame = pd.DataFrame(pairs, columns=["user", "kind", "place"]).assign(item=0)
    frame["H"] = 0.1 * frame["place"] + 0.05
    frame.loc[frame["kind"] == 1, "H"] = 0.4
    return frame.assign(G=0.5).drop(columns="place")
