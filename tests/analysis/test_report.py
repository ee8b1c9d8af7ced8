"""The report as a file: its numbers are those of the ledger and of the statistics."""

from itertools import combinations

import numpy as np
import pytest

from hapens_bench.analysis.figures import style
from hapens_bench.analysis.replicates import Replicates, compare
from hapens_bench.analysis.report import page
from hapens_bench.analysis.report.leaderboard import MOST, compared, settings_of
from hapens_bench.analysis.statistics import holm
from hapens_bench.config.paths import conf_dir
from hapens_bench.runs import ledger
from tests.analysis.synthetic import METRICS, made, make_run

SAMPLERS = sorted(path.stem for path in (conf_dir() / "sampler").rglob("*.yaml"))


@pytest.fixture(scope="module")
def data(runs, tmp_path_factory) -> dict:
    return made(runs, tmp_path_factory.mktemp("out") / "report.html")


def test_the_leaderboard_is_the_ledgers(runs, data):
    frame = ledger.load(runs).frame()
    shown, settings = data["ledger"]["rows"], data["ledger"]["settings"]
    expected = frame.groupby(["config_id", "selection", "metric"])["value"].agg(
        ["mean", "std", "size"]
    )
    seen = 0
    for row, (setting, selection) in enumerate(
        zip(shown["setting"], shown["selection"], strict=True)
    ):
        for metric in METRICS:
            want = expected.loc[(settings["config_id"][setting], selection, metric)]
            assert shown["mean"][metric][row] == pytest.approx(100 * want["mean"], rel=1e-12)
            assert shown["n"][row] == want["size"]
            std = shown["std"][metric][row]
            assert (
                std is None
                if want["size"] == 1
                else std == pytest.approx(100 * want["std"], rel=1e-9)
            )
            seen += 1
    assert seen == len(expected) == 7 * 3 * len(METRICS)
    assert data["ledger"]["runs"] == 11 and not data["ledger"]["skipped"]
    first = shown["setting"].index(settings["sampler"].index("dns"))
    assert shown["converged"][first] is False and all(shown["converged"]) is False


def test_settings_are_named_by_what_differs(data):
    settings = data["ledger"]["settings"]
    keys = {
        (d, s, k)
        for d, s, k in zip(settings["dataset"], settings["sampler"], settings["keys"], strict=True)
    }
    assert (
        ("tools", "dns", "M=16, lr=0.002") in keys
        and ("phones", "dns", "") in keys
        and ("tools", "rns", "") in keys
    )


def test_curves_are_means_and_ranges_over_seeds(runs, data):
    found = ledger.load(runs).runs
    ids, samplers = data["ledger"]["settings"]["config_id"], data["ledger"]["settings"]["sampler"]
    for dataset, n_curves in (("tools", 3), ("phones", 1)):
        k = next(
            k
            for k, s in enumerate(samplers)
            if s == "ahns" and data["ledger"]["settings"]["dataset"][k] == dataset
        )
        epochs = ledger.epochs([run for run in found if run["config_id"] == ids[k]])
        shown = data[f"curves-{k}"]
        for stage, judged in (("held", "valid"), ("full", "test")):
            part = epochs[epochs["stage"] == stage]
            score = (
                100
                * part.groupby("epoch")[f"{judged}/NDCG@20"].agg(["mean", "min", "max"]).dropna()
            )
            assert shown[stage]["metrics"]["epoch"] == list(score.index) == [0, 5, 10, 11]
            drawn = shown[stage]["metrics"]["curves"]["NDCG@20"]
            assert len(drawn) == n_curves and np.allclose(
                drawn, score.T.to_numpy()[:n_curves], rtol=1e-4
            )
            hardness = part.groupby("epoch")["hardness/false_negative_rate"].agg(
                ["mean", "min", "max"]
            )
            drawn = shown[stage]["hardness"]["curves"]["false_negative_rate"]
            assert (
                np.allclose(drawn, hardness.T.to_numpy()[:n_curves], rtol=1e-4)
                and len(drawn[0]) == 12
            )


def test_long_curves_are_thinned(tmp_path):
    folder = make_run(tmp_path)
    rows = [
        {"stage": "full", "epoch": e, "hardness/ratio": float(e), "test/NDCG@20": 0.1}
        for e in range(950)
    ]
    folder.write_history(rows)
    folder.write_status("done")
    drawn = made(tmp_path, tmp_path / "r.html")["curves-0"]["full"]["hardness"]
    assert drawn["epoch"] == list(range(0, 950, 10)) and drawn["curves"]["ratio"] == [
        [float(e) for e in range(0, 950, 10)]
    ]


def test_a_curve_ends_where_its_first_seed_stopped(tmp_path):
    for seed, last in ((0, 11), (1, 8)):
        rows = [
            {"stage": "full", "epoch": e, "hardness/ratio": e + seed, "test/NDCG@20": np.nan}
            for e in range(last + 1)
        ]
        for epoch in (0, 5, last):
            rows[epoch]["test/NDCG@20"] = 0.1
        folder = make_run(tmp_path, seed=seed)
        folder.write_history(
            [row | {"hardness/ratio": float(row["hardness/ratio"])} for row in rows]
        )
        folder.write_status("done")
    drawn = made(tmp_path, tmp_path / "r.html")["curves-0"]["full"]
    assert drawn["hardness"]["epoch"] == list(range(9)) and drawn["metrics"]["epoch"] == [0, 5]
    assert drawn["hardness"]["curves"]["ratio"][0] == [epoch + 0.5 for epoch in range(9)]


def test_tests_are_those_of_the_statistics(runs, data):
    found = ledger.load(runs).runs
    ids = data["ledger"]["settings"]["config_id"]
    (group,) = (g for g in data["tests"] if (g["dataset"], g["selection"]) == ("tools", "valid"))
    assert len(group["settings"]) == 3  # dns once: its better setting
    members = [
        Replicates([run for run in found if run["config_id"] == ids[k]]) for k in group["settings"]
    ]
    for metric in METRICS:
        pairs = [compare(a, b, "valid", metric) for a, b in combinations(members, 2)]
        shown = group["metrics"][metric]
        assert shown["difference"] == pytest.approx(
            [seeds.difference for seeds, _ in pairs], rel=1e-4
        )
        assert shown["seeds"] == pytest.approx(holm([seeds.p for seeds, _ in pairs]), rel=1e-4)
        assert shown["users"] == pytest.approx(holm([users.p for _, users in pairs]), abs=0.02)
        assert shown["seedWords"] == shown["userWords"] == ["", "", ""]
    (single,) = (g for g in data["tests"] if (g["dataset"], g["selection"]) == ("phones", "valid"))
    shown = single["metrics"]["NDCG@20"]
    assert shown["seedWords"] == ["n = 1 seeds: no test"] * 3 and shown["seeds"] == [None] * 3
    assert max(shown["users"]) <= 1 and shown["userWords"] == ["", "", ""]


def test_what_is_compared_is_chosen_on_validation_and_bounded(tmp_path):
    for k, changes in enumerate([(), ("sampler.M=8",), ("sampler.M=16",)]):
        make_run(
            tmp_path,
            sampler="dns",
            changes=changes,
            level=0.05 + 0.01 * k,
            said={"validation": [0.1, 0.3, 0.2][k]},
        )
    for sampler in SAMPLERS:
        if sampler != "dns":
            make_run(tmp_path, sampler=sampler)
    settings = settings_of(ledger.load(tmp_path).runs, [])
    groups = compared(settings)
    assert len(groups) == 3
    for members in groups.values():
        assert len(members) == MOST < len(SAMPLERS) and settings[members[0]].keys == "M=8"
        assert len({settings[k].sampler for k in members}) == MOST


def test_without_validation_test_decides(tmp_path):
    for k, changes in enumerate([(), ("sampler.M=8",), ("sampler.M=16",)]):
        make_run(
            tmp_path,
            sampler="dns",
            changes=changes,
            level=[0.1, 0.3, 0.2][k],
            said={"validation": None},
        )
    settings = settings_of(ledger.load(tmp_path).runs, [])
    assert [[settings[k].keys for k in members] for members in compared(settings).values()] == [
        ["M=8"]
    ] * 3


def test_samplers_look_as_in_the_figures():
    looks = {sampler: page.stroke(sampler) for sampler in (*SAMPLERS, "of somebody else")}
    for sampler, (colour, dash) in looks.items():
        assert colour == style.line(sampler)["color"] and (dash == "") == (
            style.line(sampler)["linestyle"] == "-"
        )
    assert len(set(map(tuple, looks.values()))) == len(looks)
    assert looks["mixgcf"][1] == "10 2 2 2 2 2"
