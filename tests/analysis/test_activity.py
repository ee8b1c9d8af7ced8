import dataclasses

import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.tables import activity
from hapens_bench.analysis.tables import definition as cells
from hapens_bench.config.compose import compose_config
from hapens_bench.errors import UserError
from hapens_bench.launch.job import load_split
from hapens_bench.runs.folder import RunFolder

METRICS = ["Recall@20", "NDCG@20"]


def test_deciles_are_a_tenth_each_and_equal_counts_share_one():
    assert activity.deciles(np.arange(100)).tolist() == np.repeat(np.arange(1, 11), 10).tolist()
    found = activity.deciles(np.array([3] * 50 + [7] * 30 + list(range(8, 28))))
    assert len(set(found[:50])) == len(set(found[50:80])) == 1
    assert (np.diff(found) >= 0).all() and found.max() == 10


@pytest.fixture
def definition():
    return cells.read_definition("hapens_table") | {
        "datasets": ["planted"],
        "samplers": {"rns": ["sampler=rns"], "dns": ["sampler=dns"], "hapens": ["sampler=hapens"]},
        "overrides": ["protocol=ahns", "protocol.selection=[valid_refit]", "tuned=none"],
        "metrics": METRICS,
    }


@pytest.fixture
def filled(definition, tmp_path):
    """Cells with two seeds; hapens is a point better for active users, a point worse for others."""
    found = cells.cells(definition)
    config = compose_config(found[0].overrides)
    split = load_split(config)
    count = np.bincount(split.full_train[:, 0], minlength=split.n_users)
    users = np.unique(split.test[:, 0])
    many = count[users] > np.median(count[users])
    rng = np.random.default_rng(0)
    for cell in found:
        for seed in (0, 1):
            noise = rng.normal(0, 0.002, len(users))
            score = 0.5 + noise + (np.where(many, 0.01, -0.01) if cell.sampler == "hapens" else 0)
            folder = RunFolder(tmp_path / f"{cell.sampler}{seed}")
            frame = {
                "selection": "valid_refit",
                "user": users,
                "Recall@20": score,
                "NDCG@20": score / 2,
            }
            folder.write_users(pd.DataFrame(frame))
            test = {"Recall@20": score.mean(), "NDCG@20": score.mean() / 2}
            report = {"epoch": 5, "converged": True, "test": test}
            run = {
                "run_id": folder.path.name,
                "config_id": cell.config_id,
                "dataset": "planted",
                "model": "mf",
            }
            run |= {
                "sampler": cell.sampler,
                "seed": seed,
                "git_sha": "a",
                "data_hash": "h",
                "folder": str(folder.path),
            }
            cell.runs.append(run | {"selection": {"valid_refit": report}})
    return found


def test_who_gains_is_found_and_equals_the_users_one_by_one(definition, filled):
    frame = activity.by_activity(definition, filled)
    assert set(frame["against"]) == {"rns", "dns"} and set(frame["metric"]) == set(METRICS)
    part = frame.query("against == 'dns' and metric == 'Recall@20'").sort_values("decile")
    assert (part["difference"].iloc[:4] < -0.5).all() and (part["difference"].iloc[-4:] > 0.5).all()
    assert (part["p"].iloc[[0, -1]] < 0.05).all()
    assert (part["items_low"].to_numpy()[1:] > part["items_high"].to_numpy()[:-1]).all()
    split = load_split(compose_config(filled[0].overrides))
    count = np.bincount(split.full_train[:, 0], minlength=split.n_users)
    ours, theirs = (
        sum(
            RunFolder(run["folder"]).read_frame("users").set_index("user")["Recall@20"]
            for run in cell.runs
        )
        / 2
        for cell in (filled[2], filled[1])
    )
    row = part.iloc[0]
    inside = (count[ours.index] >= row["items_low"]) & (count[ours.index] <= row["items_high"])
    assert row["users"] == inside.sum()
    assert np.isclose(row["difference"], 100 * (ours - theirs)[inside].mean())
    assert np.isclose(row["gain"], 100 * (ours > theirs)[inside].mean())
    assert row["low"] < row["difference"] < row["high"]
    assert part["users"].sum() == len(ours)


def test_files_are_written_and_nothing_to_compare_is_said(definition, filled, tmp_path):
    frame = activity.write_activity("hapens_table", definition, filled, tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [
        f"hapens_table_activity.{end}" for end in ("csv", "png", "provenance.json", "svg")
    ]
    assert len(pd.read_csv(tmp_path / "out" / "hapens_table_activity.csv")) == len(frame)
    alone = [
        dataclasses.replace(cell, runs=cell.runs if cell.sampler == "hapens" else [])
        for cell in filled
    ]
    with pytest.raises(UserError, match="no finished runs of hapens and another method"):
        activity.write_activity("hapens_table", definition, alone, tmp_path / "none")
    assert not (tmp_path / "none").exists()
