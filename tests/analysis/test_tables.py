import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.tables import comparisons, paper
from hapens_bench.analysis.tables import definition as cells
from hapens_bench.config.compose import compose_config
from hapens_bench.config.identity import config_id, split_id
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.runs.folder import RunFolder


@pytest.fixture
def fake_run(tmp_path):
    def make(cell: cells.Cell, seed: int, recall: float, converged: bool = True) -> dict:
        test = {"Recall@20": recall, "NDCG@20": recall / 2, "NDCG@50": recall / 1.5}
        report = {"epoch": 25, "converged": converged, "test": test}
        folder = RunFolder(tmp_path / f"{cell.config_id}{seed}")
        noise = np.random.default_rng([seed, int(1e6 * recall)]).normal(0, 0.01, 50)
        users = {"selection": "test_peak", "user": range(50)} | {
            m: v + noise - noise.mean() for m, v in test.items()
        }
        folder.write_users(pd.DataFrame(users))
        return {
            "run_id": folder.path.name,
            "config_id": cell.config_id,
            "dataset": cell.dataset,
            "model": "mf",
            "sampler": cell.sampler,
            "seed": seed,
            "git_sha": "abc",
            "data_hash": "h",
            "selection": {"test_peak": report},
            "folder": str(folder.path),
        }

    return make


@pytest.fixture(scope="module")
def definition() -> dict:
    return cells.read_definition("ahns_table2")


@pytest.fixture(scope="module")
def by_name(definition) -> dict:
    return {(cell.dataset, cell.sampler): cell for cell in cells.cells(definition)}


def test_cells_differ(by_name):
    assert len({cell.config_id for cell in by_name.values()}) == len(by_name) == 36


def test_a_table_may_take_the_printed_numbers_of_another(definition):
    equal = cells.read_definition("ahns_table2_equal")
    assert list(equal["paper"]) == ["tools", "phones"]
    assert equal["paper"]["tools"] == definition["paper"]["tools"]
    assert set(equal["samplers"]) < set(definition["samplers"])


def test_a_table_like_another_says_only_what_differs():
    base, tuned = cells.read_definition("hapens_table"), cells.read_definition("hapens_tuned")
    assert tuned["samplers"] == base["samplers"] and tuned["metrics"] == base["metrics"]
    assert tuned["overrides"] == ["experiment=hapens_table", "tuned=equal"] != base["overrides"]
    assert "paper" not in tuned and tuned["datasets"] == base["datasets"]
    gowalla = cells.read_definition("sdns_table2_gowalla")
    assert (
        list(gowalla["paper"]) == gowalla["datasets"] == ["gowalla"]
    )  # its own data sets, not those of the other


def test_means_deviations_and_differences(definition, by_name, fake_run):
    runs = [fake_run(by_name["tools", "rns"], s, r) for s, r in enumerate([0.055, 0.056, 0.054])]
    runs += [fake_run(by_name["tools", "ahns_p2"], 0, 0.0742)]
    runs += [fake_run(by_name["tools", "rns"], 9, 0.9) | {"config_id": "another setting"}]
    filled = cells.fill(definition, runs)
    assert sum(len(cell.runs) for cell in filled) == 4
    table = paper.long_table(definition, filled)
    assert list(table.columns) == paper.COLUMNS
    row = table[(table.sampler == "rns") & (table.metric == "Recall@20")].iloc[0]
    assert (row["n"], row["paper"]) == (3, 5.53)
    assert row["mean"] == pytest.approx(5.5) and row["std"] == pytest.approx(0.1)
    assert row["delta_pct"] == pytest.approx(100 * (5.5 - 5.53) / 5.53)
    single = table[(table.sampler == "ahns_p2") & (table.metric == "Recall@20")].iloc[0]
    assert single["n"] == 1 and pd.isna(single["std"])


def test_an_order_needs_three_methods_whose_printed_numbers_differ():
    key = {"dataset": "tools", "metric": "NDCG@20", "selection": "valid"}
    rows = pd.DataFrame(
        [{**key, "mean": mean, "paper": paper} for mean, paper in ((1, 3), (2, 4), (3, 5))]
    )
    assert comparisons.orders(rows)["tau"].tolist() == [1.0]
    assert comparisons.orders(rows[:2]).empty and comparisons.orders(rows.assign(paper=3)).empty


def test_files_and_provenance(by_name, fake_run, tmp_path):
    runs = [fake_run(by_name["tools", "dns"], s, 0.06, converged=s == 0) for s in range(2)]
    runs += [fake_run(by_name["tools", "rns"], s, 0.05) for s in range(2)]
    runs += [fake_run(by_name["tools", "ahns_p2"], s, 0.07 + 0.001 * s) for s in range(2)]
    written = paper.write_table("ahns_table2", runs, tmp_path)
    markdown, origin = (tmp_path / "ahns_table2.md").read_text(), "run folders, 1 commit"
    assert (
        f"| tools | dns | test_peak | 2 | {origin} | 6.66 | <u>6.00 ± 0.00 !</u> | -9.9 |"
        in markdown
    )
    assert f"| tools | rns | test_peak | 2 | {origin} | 5.53 | 5.00 ± 0.00 | -9.6 |" in markdown
    assert f"| tools | ahns_p2 | test_peak | 2 | {origin} | 7.42 | **7.05 ± 0.07" in markdown
    assert "| tools | best against second | test_peak |  |  | +11.4 % | +17.5 % |" in markdown
    assert "| phones | rns | test_peak | 0 | – | 11.06 | – | – |" in markdown
    assert "hapens train -m dataset=phones sampler=rns" in markdown
    assert "| tools | Recall@20 | 3 | +1.00 |" in markdown
    assert written.orders["tau"].tolist() == [1.0, 1.0, 1.0]
    csv = pd.read_csv(tmp_path / "ahns_table2.csv")
    assert list(csv.columns) == paper.COLUMNS and len(csv) == 9
    assert csv.set_index("sampler")["converged"].groupby("sampler").all().to_dict() == {
        "rns": True,
        "dns": False,
        "ahns_p2": True,
    }
    latex = (tmp_path / "ahns_table2.tex").read_text()
    assert (
        latex.count(r"\\") >= 48
        and r"\label{tab:ahns_table2}" in latex
        and r"\multicolumn{3}{c}{NDCG@50}" in latex
        and r"\cmidrule(lr){6-8}" in latex
        and "& n & from & paper & ours &" in latex
        and r"\underline{6.00 $\pm$ 0.00 !}" in latex
        and r"test\_peak" in latex
    )
    note = json.loads((tmp_path / "ahns_table2.provenance.json").read_text())
    others = {path.name for path in tmp_path.glob("ahns_table2*")} - {"ahns_table2.provenance.json"}
    assert set(note["files"]) == others and "ahns_table2_tests.csv" in others
    assert (
        note["seeds"] == [0, 1] and note["data_hashes"] == {"tools": "h"} and len(note["runs"]) == 6
    )
    assert {"command", "git_sha", "versions", "git_sha_of_runs", "selections"} <= set(note)
    tested = pd.read_csv(tmp_path / "ahns_table2_tests.csv")
    row = tested[(tested["metric"] == "Recall@20") & (tested["against"] == "rns")].iloc[0]
    assert row["difference"] == pytest.approx(2.05) and row["seeds"] == 2 and row["users"] == 50
    assert (
        0 < row["p_t_holm"] <= 1 and 0 < row["p_users_holm"] <= 1 and row["p_wilcoxon_least"] == 0.5
    )


@pytest.mark.parametrize("name", ["ahns_table2_equal", "hapens_tuned", "gdns_tuned"])
def test_a_budget_is_what_the_tuned_files_tell(name):
    """Trials of a table under equal budgets: as many as its methods had, of the same data."""
    definition = cells.read_definition(name)
    assert "tuned=equal" in definition["overrides"]
    told: dict[str, set[int]] = {}
    for cell in cells.cells(definition):
        sampler = compose_config(cell.overrides)["sampler"]["name"]
        path = (
            conf_dir() / "tuned" / "equal" / f"{cell.dataset}-{definition['model']}-{sampler}.yaml"
        )
        if path.exists():
            n = re.search(r"the best of (\d+) trials", path.read_text())
            told.setdefault(cell.dataset, set()).add(int(n[1]))
    assert told.keys() == definition["budget"].keys()
    for dataset, searches in definition["budget"].items():
        # hapens_tuned: its rns, dns and ahns have the best of 16, which is that of their first 8
        assert sum(searches.values()) == min(told[dataset])
        split = {
            split_id(compose_config([f"dataset={dataset}", *words]))
            for words in (definition["overrides"], *([f"experiment={one}"] for one in searches))
        }
        assert len(split) == 1
        for experiment, n in searches.items():
            assert experiments.read_sweeper(experiment)["n_trials"] == n


def test_tables_without_a_search_have_no_budget():
    for path in (conf_dir() / "table").glob("*.yaml"):
        definition = cells.read_definition(path.stem)
        config = compose_config([*definition["overrides"], f"dataset={definition['datasets'][0]}"])
        assert ("budget" in definition) == (config["tuned"]["name"] in ("equal", "reality")), path


@pytest.mark.parametrize(
    "name",
    [
        "ahns_table2",
        "ahns_table2_equal",
        "sdns_table2",
        "gdns_table3",
        "hapens_table",
        "hapens_shuffle_equal",
        "hapens_shuffle_activity",
    ],
)
def test_the_runs_of_a_tables_experiment_are_its_cells(name, tmp_path):
    filled = {cell.config_id for cell in cells.cells(cells.read_definition(name)) if cell.config_id}
    assert {config_id(one.job.config) for one in experiments.planned(name, tmp_path)} >= filled


def test_the_runs_of_irbenchmark_are_the_cells_of_both_its_models(tmp_path):
    filled = [
        cell
        for name in ("irbenchmark", "irbenchmark_lightgcn")
        for cell in cells.cells(cells.read_definition(name))
        if cell.sampler != "adv_infonce"  # typed apart: it has settings with MF alone
    ]
    planned = experiments.planned("irbenchmark", tmp_path)
    assert {config_id(one.job.config) for one in planned} == {cell.config_id for cell in filled}
    clean = [cells.read_definition(f"irbenchmark{model}_clean") for model in ("", "_lightgcn")]
    assert [one["selections"] for one in clean] == [["valid", "valid_refit"]] * 2
    assert clean[1]["paper"] == cells.read_definition("irbenchmark_lightgcn")["paper"]


def test_the_printed_gains_of_sdns_are_those_of_its_printed_numbers(tmp_path):
    definition = cells.read_definition("sdns_table2")
    printed = {"taobao": [4.68, 3.66], "tmall": [9.14, 8.66], "gowalla": [1.09, 1.49]}
    for dataset, rows in definition["paper"].items():
        assert set(rows) == {"rns", "irgan", "advir", "dns", "mixgcf", "sdns"}
        for k, gain in enumerate(printed[dataset]):
            *_, second, best = sorted(row[k] for row in rows.values())
            assert best == rows["sdns"][k] and 100 * (best - second) / second == pytest.approx(
                gain, abs=0.01
            )


def runs_of(definition: dict, values: dict[str, float], place: Path) -> list[dict]:
    """Return a run for each cell: its sampler's value in every metric, or 0.02."""
    runs = []
    for cell in cells.cells(definition):
        test = dict.fromkeys(definition["metrics"], values.get(cell.sampler, 0.02))
        folder = RunFolder(place / f"{cell.dataset}-{cell.sampler}")
        folder.write_users(
            pd.DataFrame({"selection": definition["honest_selection"], "user": range(9)} | test)
        )
        run = {
            "run_id": "r",
            "config_id": cell.config_id,
            "dataset": cell.dataset,
            "model": definition["model"],
            "seed": 0,
        }
        run |= {
            "sampler": cell.sampler,
            "git_sha": "abc",
            "data_hash": "h",
            "folder": str(folder.path),
        }
        report = {"epoch": 1, "converged": True, "test": test}
        runs.append(run | {"selection": {definition["honest_selection"]: report}})
    return runs


def test_a_table_says_what_can_be_compared_and_sets_gain_beside_gain(tmp_path):
    runs = runs_of(
        cells.read_definition("sdns_table2"), {"rns": 0.03, "dns": 0.04, "sdns": 0.05}, tmp_path
    )
    written = paper.write_table("sdns_table2", runs, tmp_path)
    markdown = (tmp_path / "sdns_table2.md").read_text()
    assert "only the order and the gain of the best over the second" in " ".join(markdown.split())
    assert "| tmall | sdns | valid | 1 | run folders, 1 commit | 10.51 | **5.00" in markdown
    assert "| tmall | best against second | valid |  |  | +9.1 % | +25.0 % |" in markdown
    assert set(written.orders["dataset"]) == {"taobao", "tmall", "gowalla"}


def test_a_table_without_printed_numbers_has_no_columns_for_them(tmp_path, monkeypatch):
    definition = cells.read_definition("hapens_table") | {
        "overrides": ["protocol=ahns", "tuned=none"]
    }
    monkeypatch.setattr(paper, "read_definition", lambda _: definition)
    written = paper.write_table(
        "hapens_table", runs_of(definition, {"ahns": 0.03}, tmp_path), tmp_path
    )
    assert written.header == [
        "dataset",
        "sampler",
        "selection",
        "n",
        "from",
        "Recall@20",
        "NDCG@20",
        "Recall@50",
    ]
    assert {len(line) for line in written.lines} == {len(written.header)} and written.orders.empty
    said = (tmp_path / "hapens_table.md").read_text()
    assert (
        "| tools | ahns | valid_refit | 1 | run folders, 1 commit | **3.00" in said
        and "nan" not in said
        and "Δ%" not in said
    )
    csv = pd.read_csv(tmp_path / "hapens_table.csv")
    assert list(csv.columns) == paper.COLUMNS and csv[["paper", "delta_pct"]].isna().all(axis=None)


def test_runs_on_different_data_are_not_averaged(definition, by_name, fake_run):
    cell = by_name["tools", "rns"]
    with pytest.raises(UserError, match="different data"):
        cells.fill(
            definition, [fake_run(cell, 0, 0.05), fake_run(cell, 1, 0.05) | {"data_hash": "other"}]
        )


def test_nothing_to_show_is_told(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        paper.write_table("ahns_table2", [], tmp_path)
    with pytest.raises(UserError, match="choose one of ahns_table2"):
        cells.read_definition("nope")
