"""A table with columns for data sets, and the figures that show a table's methods."""

import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.figures import of_table
from hapens_bench.analysis.figures.definition import write_figure
from hapens_bench.analysis.tables import activity, paper
from hapens_bench.analysis.tables import definition as cells
from hapens_bench.cli.main import main
from hapens_bench.config.compose import compose_config
from tests.analysis.runs import write_run

ROWS = {
    "plain": {"rns": ["sampler=rns"]},
    "hard": {"dns": ["sampler=dns"], "ahns": ["sampler=ahns"]},
    "other": {"ssm": ["sampler=ssm", "trainer.lr=0.01"]},
}
DEFINITION = {
    "title": "three methods",
    "model": "mf",
    "across": True,
    "queue": "hapens queue q.txt",
    "overrides": ["protocol=ahns", "tuned=none", "trainer.lr=0.002"],
    "overrides_of": {"phones": ["trainer.lr=0.003"]},
    "selections": ["valid_refit"],
    "honest_selection": "valid_refit",
    "compare": "rns",
    "compare_also": ["dns"],
    "metrics": ["Recall@20", "NDCG@20"],
    "seeds": 2,
    "groups": ROWS,
    "samplers": {name: row for rows in ROWS.values() for name, row in rows.items()},
    "datasets": ["tools", "phones", "sports"],
}
LEVEL = {"rns": 0.05, "dns": 0.06, "ahns": 0.055}


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Runs of three methods on two data sets, ahns on one of them only."""
    for module in (cells, paper, of_table):
        monkeypatch.setattr(module, "read_definition", lambda name: DEFINITION)
    for dataset, lr in (("tools", 0.002), ("phones", 0.003)):
        for sampler in ("rns", "dns", "ahns") if dataset == "tools" else ("rns", "dns"):
            for seed in (0, 1):
                score = LEVEL[sampler] + 0.0002 * seed + 0.00005 * (sampler == "dns") * seed
                one = write_run(
                    tmp_path / "runs",
                    f"dataset={dataset}",
                    f"sampler={sampler}",
                    f"trainer.lr={lr}",
                    f"seed={seed}",
                    train_seconds=10.0 * (1 + seed),
                    selection={
                        "valid_refit": {"epoch": 5, "converged": True, "test": scored(score)}
                    },
                )
                noise = np.random.default_rng([seed, int(1e6 * score)]).normal(0, 0.002, 60)
                frame = {"selection": "valid_refit", "user": range(60)}
                frame |= {m: v + noise - noise.mean() for m, v in scored(score).items()}
                one.write_users(pd.DataFrame(frame))
    return tmp_path / "runs"


def scored(recall):
    return {"Recall@20": recall, "NDCG@20": recall / 2}


def test_a_rows_own_overrides_win_then_those_of_the_data_set():
    by_name = {(cell.dataset, cell.sampler): cell for cell in cells.cells(DEFINITION)}
    rates = {
        key: compose_config(by_name[key].overrides)["trainer"]["lr"]
        for key in [("tools", "rns"), ("phones", "rns"), ("tools", "ssm"), ("phones", "ssm")]
    }
    assert list(rates.values()) == [0.002, 0.003, 0.01, 0.01]


def test_methods_are_rows_by_group_and_data_sets_columns(three, tmp_path, capsys):
    folders = ["--runs", str(three), "--out", str(tmp_path), "--archive", "ignore"]
    assert main(["table", "any", *folders]) == 0
    assert "three methods" in capsys.readouterr().out
    page = (tmp_path / "any.md").read_text()
    sets = ("tools Recall@20", "tools seconds", "phones Recall@20", "phones seconds")
    head = f"| group | method | n | {' | '.join(sets)} |"
    assert head in page and "sports" not in page.split("\n\n")[1]
    assert "| plain | rns | 2 | 5.01 ± 0.01 | 15 | <u>5.01 ± 0.01</u> | 15 |" in page
    assert "| hard | ahns | 2 | <u>5.51 ± 0.01</u> | 15 | – | – |" in page
    assert "| other | ssm | 0 | – | – | – | – |" in page and "**6.01 ± 0.02" in page
    assert (
        "## NDCG@20" in page and "| group | method | n | tools NDCG@20 | phones NDCG@20 |" in page
    )
    assert "Not run yet: 7 of 12 cells; `hapens queue q.txt` has them all." in page
    long = pd.read_csv(tmp_path / "any.csv")
    assert set(long["seconds"]) == {15.0} and list(long.columns) == [*paper.COLUMNS, "seconds"]
    assert r"\multicolumn{2}{c}{tools}" in (tmp_path / "any.tex").read_text()


def test_what_each_adds_is_tested_against_several_methods(three, tmp_path):
    written = paper.write_table("any", cells_runs(three), tmp_path)
    assert list(written.tests["sampler"].unique()) == ["rns", "dns"]
    page = (tmp_path / "any.md").read_text()
    over_rns = page.split("## What each method adds to rns: Recall@20")[1].split("##")[0]
    row = next(line for line in over_rns.splitlines() if line.startswith("| dns "))
    assert row.startswith("| dns | +1.00") and row.count("+1.00") == 2 and "‡" in row
    over_dns = page.split("## What each method adds to dns: Recall@20")[1]
    assert "| rns | -1.00" in over_dns and "| ahns | -0.5" in over_dns and "| dns " not in over_dns


def cells_runs(root):
    from hapens_bench.runs.ledger import load

    return load(root, None).runs


def test_activity_may_be_of_some_methods(three):
    filled = cells.fill(DEFINITION, cells_runs(three))
    assert {cell.sampler for cell in filled if cell.runs} == {"rns", "dns", "ahns"}
    asked = DEFINITION | {"activity": ["ssm"]}
    assert activity.by_activity(asked, filled).empty


def test_figures_name_a_tables_methods(three, tmp_path):
    frame, notes = write_figure("reality_ranks", three, tmp_path / "out")
    assert frame.set_index("sampler")["rank"].to_dict() == {"dns": 1, "rns": 2}
    assert notes[0] == "7 of 12 cells of the table have no run"
    assert "ahns was not run on all 2 data sets and is left out" in notes
    where = {"dataset": ["tools"]}
    frame, _ = write_figure("reality_popularity", three, tmp_path / "out", where)
    assert set(frame["sampler"]) == {"rns", "dns", "ahns"} and set(frame["dataset"]) == {"tools"}
    assert (tmp_path / "out" / "reality_popularity.svg").read_text().count("<path") > 10
