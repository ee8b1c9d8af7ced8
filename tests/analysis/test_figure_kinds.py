"""Figures with an axis of their own: pools, grids, times, ranks and false negatives."""

import json

import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.analysis.figures import drawing, indicators
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.runs.folder import RunFolder
from tests.analysis.runs import write_run
from tests.analysis.trials import fill, history, remembered


def test_pool_sizes_by_the_key_of_each_sampler(tmp_path, draw):
    for M in (4, 16, 8):
        for seed in (0, 2):
            late = {
                "selection": {
                    "valid": {
                        "epoch": 11,
                        "converged": M != 16,
                        "test": {"NDCG@20": 0.03 + M / 1000},
                    }
                }
            }
            write_run(tmp_path, "sampler=dns", f"sampler.M={M}", f"seed={seed}", **late)
    write_run(
        tmp_path,
        "sampler=rns",
        selection={"valid": {"epoch": 1, "converged": True, "test": {"NDCG@20": 0.02}}},
    )
    with pytest.raises(
        UserError,
        match="none of the 7 runs has selection valid_refit; they have valid: add --where sel",
    ):
        draw(tmp_path, "pool_size")
    frame, _ = draw(tmp_path, "pool_size", selection=["valid"])
    test = frame[frame["panel"] == "NDCG@20"].set_index(["sampler", "x"])
    assert test.loc["dns", "mean"].to_dict() == {
        4: pytest.approx(3.4),
        8: pytest.approx(3.8),
        16: pytest.approx(4.6),
    }
    assert set(test.loc["dns", "n"]) == {2} and test.loc["dns", "converged"].to_dict() == {
        4: True,
        8: True,
        16: False,
    }
    assert frame.loc[frame["sampler"] == "rns", "x"].isna().all()
    assert frame.loc[frame["panel"] == "validation", "mean"].tolist() == [pytest.approx(5.0)] * 4
    definition = {**figures.read_definition("pool_size"), "selection": "valid"}
    axis = drawing.draw_pool(definition, frame).axes[1]
    lines = {
        line.get_label(): line.get_xydata().tolist()
        for line in axis.lines
        if line.get_linestyle() != "None"
    }
    assert lines["dns"] == [
        [4, pytest.approx(3.4)],
        [8, pytest.approx(3.8)],
        [16, pytest.approx(4.6)],
    ]
    hollow = [
        line.get_xydata().tolist() for line in axis.lines if line.get_markerfacecolor() == "white"
    ]
    assert [points for points in hollow if points] == [[[16, pytest.approx(4.6)]]]
    with pytest.raises(
        UserError, match="figure pool_size shows one selection, and --where names valid, test_peak"
    ):
        draw(tmp_path, "pool_size", selection=["valid", "test_peak"])


def test_without_a_validation_part_its_panel_is_left_out(tmp_path, draw):
    write_run(tmp_path, "sampler=dns", "protocol.selection=[test_peak]", validation=None)
    frame, notes = draw(tmp_path, "pool_size", selection=["test_peak"])
    assert set(frame["panel"]) == {"NDCG@20"} and notes == [
        "none of the runs reports validation, so its panel is left out"
    ]


def test_a_grid_of_two_keys(tmp_path):
    trials = experiments.planned("ahns_fig6", tmp_path)
    fill(trials, history)
    frame, missing = figures.write_figure("ahns_fig6", tmp_path, tmp_path)
    assert not missing and len(frame) == 25
    assert frame.loc[(frame["x"] == 0.3) & (frame["y"] == 0.1), "value"].item() == pytest.approx(
        4.0 + 0.1 * 5
    )


def test_a_grid_with_a_hole_and_a_cell_that_has_not_converged(tmp_path, draw):
    late = {"valid_refit": {"epoch": 11, "converged": False, "test": {"NDCG@20": 0.02}}}
    write_run(tmp_path, "sampler=ahns", "sampler.alpha=0.5", "sampler.beta=0.1", "seed=0")
    write_run(tmp_path, "sampler=ahns", "sampler.alpha=0.5", "sampler.beta=0.1", "seed=2")
    write_run(tmp_path, "sampler=ahns", "sampler.alpha=1", "sampler.beta=0.4", selection=late)
    write_run(tmp_path, "sampler=dns")
    frame, notes = draw(tmp_path, "alpha_beta")
    assert notes == ["1 runs have no sampler.alpha and sampler.beta and are left out"]
    assert frame[["x", "y", "value", "n"]].to_numpy().tolist() == [
        [0.5, 0.1, pytest.approx(4.1), 2],
        [1, 0.4, pytest.approx(2.0), 1],
    ]
    figure = drawing.draw_grid(figures.read_definition("alpha_beta"), frame)
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["2.00 !", "4.10"]
    with pytest.raises(UserError, match=r"none of the 1 runs has sampler\.alpha and sampler.beta"):
        draw(tmp_path, "alpha_beta", sampler=["dns"])


def test_a_grid_of_words_is_refused(tmp_path, draw, own_figure):
    grid = {"title": "own", "kind": "grid", "selection": "valid", "metric": "NDCG@20"}
    own_figure(**grid, x="sampler.M", y="trainer.engine")
    write_run(tmp_path / "runs", "sampler=dns")
    with pytest.raises(UserError, match=r"sampler.M and trainer.engine are not both numbers"):
        draw(tmp_path / "runs", "own")


def test_times_of_epochs_without_evaluation_relative_to_the_base(tmp_path):
    trials = experiments.planned("ahns_fig7", tmp_path)
    fill(trials, history)
    frame, _ = figures.write_figure("ahns_fig7", tmp_path, tmp_path)
    tools = frame[frame["dataset"] == "tools"].set_index("sampler")
    assert tools.loc["rns", "ratio"] == 1 and tools.loc["dns", "ratio"] == 3


def test_epochs_of_packs_are_not_timed(tmp_path, draw):
    trials = experiments.planned("ahns_fig7", tmp_path)
    fill(trials[:2], lambda k, one: history(k, one, pack_size=2))
    with pytest.raises(UserError, match="trained in a pack of 2"):
        figures.write_figure("ahns_fig7", tmp_path, tmp_path)
    write_run(tmp_path / "own", "sampler=rns")
    write_run(tmp_path / "own", "sampler=dns", pack_size=3)
    frame, notes = draw(tmp_path / "own", "time")
    assert (
        frame["sampler"].tolist() == ["rns"]
        and "trained in a pack of 3, so its epochs cannot be timed" in notes[0]
    )


def test_times_need_one_base_and_epochs_without_evaluation(tmp_path, draw):
    write_run(tmp_path, "sampler=dns")
    with pytest.raises(UserError, match="relative to one setting of rns, and none of it was timed"):
        draw(tmp_path, "time")
    write_run(tmp_path, "sampler=rns")
    assert draw(tmp_path, "time")[0].set_index("sampler")["ratio"].to_dict() == {"dns": 2, "rns": 1}
    write_run(tmp_path, "sampler=rns", "trainer.lr=0.5")
    with pytest.raises(
        UserError, match=r"relative to one setting of rns, and there are lr=0.001 and lr=0.5"
    ):
        draw(tmp_path, "time")
    write_run(tmp_path / "each", "sampler=rns", epochs=1)
    with pytest.raises(UserError, match=r"no run can be timed: .* was evaluated after every epoch"):
        draw(tmp_path / "each", "time")


def test_ranks_are_over_data_sets_and_say_how_sure_they_are(tmp_path, draw):
    from scipy.stats import friedmanchisquare

    samplers, scores = ("rns", "dns", "ahns", "ssm"), []
    for dataset in ("tools", "phones", "sports"):
        for sampler in samplers if dataset == "tools" else samplers[:3]:
            write_run(tmp_path, f"dataset={dataset}", f"sampler={sampler}", "tuned=none")
    for k, path in enumerate(sorted(tmp_path.rglob("summary.json"))):
        run = json.loads(path.read_text())
        run["selection"]["valid_refit"]["test"]["Recall@20"] += 0.001 * ((7 * k) % 5)
        path.write_text(json.dumps(run))
        RunFolder(path.parent).write_status("done")
        scores.append(
            (run["dataset"], run["sampler"], run["selection"]["valid_refit"]["test"]["Recall@20"])
        )
    frame, notes = draw(tmp_path, "ranks")
    table = pd.DataFrame(scores).pivot(index=0, columns=1, values=2)[list(samplers[:3])]
    expected = table.rank(axis=1, ascending=False).mean()
    assert frame.set_index("sampler")["rank"].to_dict() == expected.to_dict()
    assert frame["p"].iloc[0] == pytest.approx(friedmanchisquare(*table.to_numpy().T).pvalue)
    assert notes == ["ssm was not run on all 3 data sets and is left out"]
    assert "3 data sets are few" in frame["words"].iloc[0]
    write_run(tmp_path, "dataset=tools", "sampler=dns", "sampler.M=32", "tuned=none")
    with pytest.raises(
        UserError, match="dns has several settings on tools; choose one with --where"
    ):
        draw(tmp_path, "ranks")


def test_the_auc_compares_a_user_with_her_own_negatives(tmp_path):
    trials = experiments.planned("gdns_fig5", tmp_path)
    fill(trials[:2], history)  # two seeds
    frame, _ = figures.write_figure("gdns_fig5", tmp_path, tmp_path / "out")
    H, G = (
        frame[(frame["panel"] == name) & (frame["kind"] == "relabelled")].iloc[0] for name in "HG"
    )
    assert H["auc"] == pytest.approx(4 / 6) and G["auc"] == 0.5 and H["users"] == 50 and H["n"] == 2
    assert (
        frame.groupby(["panel", "kind"])["density"].sum() / indicators.BINS
    ).tolist() == pytest.approx([1] * 4)
    rng = np.random.default_rng(0)
    runs = [
        {"user": u, "run": 0, "kind": k, "H": rng.random() + 0.3 * k}
        for u in range(400)
        for k in (0, 0, 1)
    ]
    told = indicators.told_apart(pd.DataFrame(runs), "H", 1)
    assert told["low"] < 1 - 0.7**2 / 2 < told["high"] < told["low"] + 0.1
    unseen = remembered(0).assign(H=1.0, G=1.0)
    for one in trials[:2]:
        one.job.folder.write_indicators(unseen)
        one.job.folder.write_status("done")
    with pytest.raises(UserError, match="none of its pairs whose truth is known was visited"):
        figures.write_figure("gdns_fig5", tmp_path, tmp_path / "out")
