"""Figures over epochs: what lines and bands are, and how many can be told apart."""

import pandas as pd
import pytest

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.analysis.figures import drawing
from hapens_bench.cli import main
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from tests.analysis.runs import write_run
from tests.analysis.trials import fill, history


def test_curves_are_read_from_histories_and_drawn(tmp_path, capsys):
    trials = experiments.planned("ahns_fig5", tmp_path / "runs")
    fill(trials[:4], history)
    assert (
        main.main(["figure", "ahns_fig5", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)])
        == 0
    )
    told = capsys.readouterr()
    assert (
        "ahns_fig5.svg" in told.out
        and told.err.count("not run yet: hapens train") == len(trials) - 4
    )
    frame = pd.read_csv(tmp_path / "ahns_fig5.csv")
    assert frame.groupby("panel").size().to_dict() == {
        "hardness/ratio": 48,
        "hardness/percentile": 48,
        "test/NDCG@20": 12,
    }
    row = frame[
        (frame["sampler"] == "dns") & (frame["panel"] == "hardness/ratio") & (frame["epoch"] == 11)
    ].iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(1.39), 1)


def test_lines_are_means_and_bands_quantiles_over_seeds(tmp_path, draw):
    for seed in (0, 1, 4):
        write_run(tmp_path, "sampler=rns", f"seed={seed}")
    frame, _ = draw(tmp_path, "hardness")
    row = frame[(frame["panel"] == "hardness/percentile") & (frame["epoch"] == 3)].iloc[0]
    assert row["n"] == 3 and row["mean"] == pytest.approx(0.5 + 0.05 / 3)
    low, high = pytest.approx(0.502), pytest.approx(0.534)  # of 0, 1, 4: at 0.2 and 1.8 of 2 steps
    assert (row["low"], row["high"]) == (low, high)
    percent = frame.loc[frame["panel"] == "hardness/false_negative_rate", "mean"]
    assert percent.tolist() == [pytest.approx(0.1 * (0.5 + 0.05 / 3))] * 12


def test_a_line_ends_where_the_first_of_its_seeds_stopped(tmp_path, draw):
    write_run(tmp_path, "seed=0", epochs=12)
    write_run(tmp_path, "seed=1", epochs=7)
    for name, last in (("hardness", 6), ("phase", 5)):
        frame, _ = draw(tmp_path, name)
        assert frame["epoch"].max() == last and set(frame["n"]) == {2}


def test_seeds_without_a_common_epoch_are_told(tmp_path, draw):
    for seed in (0, 1):
        folder = write_run(tmp_path, f"seed={seed}", stages=("full",))
        rows = folder.read_frame("history").assign(
            **{"test/NDCG@20": float("nan"), "test/Recall@20": float("nan")}
        )
        rows.loc[rows["epoch"] == seed + 3, "test/NDCG@20"] = 0.04
        folder.write_history(rows.to_dict("records"))
        folder.write_status("done")
    with pytest.raises(
        UserError, match=r"none of the runs has test/NDCG@20 in an epoch that all seeds reached"
    ):
        draw(tmp_path, "phase")
    write_run(tmp_path, "sampler=dns", stages=("full",))
    frame, notes = draw(tmp_path, "metrics")
    assert set(frame["sampler"]) == {"dns"}
    assert any(
        note.startswith("planted mf ahns rns: its seeds have no epoch with test/NDCG@20")
        for note in notes
    )


def test_the_spread_is_of_an_epochs_negatives(root, draw):
    frame, _ = draw(root, "hardness_spread", sampler=["dns"])
    assert frame["mean"].tolist() == [pytest.approx(0.905)] * 36
    assert frame["low"].tolist() == [pytest.approx(0.705)] * 36
    assert frame["high"].tolist() == [pytest.approx(1.005)] * 36


def test_first_noisy_epochs_do_not_ruin_the_vertical_range():
    values = [-40.0, 30.0, -5.0, *[0.5 - 0.01 * epoch for epoch in range(3, 20)]]
    frame = pd.DataFrame(
        {"epoch": range(20), "mean": values, "low": values, "high": values, "n": 1}
    )
    frame = frame.assign(
        dataset="tools",
        model="mf",
        protocol="ahns",
        sampler="rns",
        setting="",
        panel="hardness/ratio",
    )
    definition = {**figures.read_definition("hardness"), "panels": {"hardness/ratio": "ratio"}}
    low, high = drawing.draw_curves(definition, frame).axes[0].get_ylim()
    assert 0 < low < values[19] and values[10] < high < 1
    low, high = drawing.draw_curves({**definition, "noisy": []}, frame).axes[0].get_ylim()
    assert low < -40 and high > 30


def test_several_settings_are_several_lines(root, tmp_path, draw):
    for M in (16, 2):
        write_run(tmp_path, "dataset=tools", "sampler=dns", f"sampler.M={M}")
    write_run(tmp_path, "dataset=tools", "sampler=rns")
    frame, _ = draw(tmp_path, "hardness")
    assert list(
        frame[["sampler", "setting"]].drop_duplicates().itertuples(index=False, name=None)
    ) == [
        ("dns", "M=2"),
        ("dns", "M=16"),
        ("rns", ""),
    ]
    figure = drawing.draw_curves(figures.read_definition("hardness"), frame)
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(drawn) == {"dns M=2", "dns M=16", "rns"}
    assert len({line.get_color() for line in drawn.values()}) == 3
    assert drawn["dns M=2"].get_marker() != drawn["dns M=16"].get_marker()


def test_more_settings_than_can_be_told_apart_are_refused(tmp_path, draw):
    for M in range(2, 13):
        write_run(tmp_path, "sampler=dns", f"sampler.M={M}")
    message = (
        r"11 settings would be drawn on planted, and at most 10 can be told apart; "
        r".* by sampler\.M$"
    )
    with pytest.raises(UserError, match=message):
        draw(tmp_path, "hardness")
    assert draw(tmp_path, "hardness", **{"sampler.M": ["2", "3"]})[0]["setting"].nunique() == 2
    with pytest.raises(UserError, match="at most 4"):
        draw(tmp_path, "hardness_spread")
    assert len(draw(tmp_path, "pool_size")[0]) == 22  # one line: its x is what differs


def test_a_path_is_hardness_against_metric_by_epoch(root, draw):
    frame, _ = draw(root, "phase", sampler=["dns"])
    assert frame["epoch"].tolist() == [0, 5, 10] and set(frame["n"]) == {2}
    assert frame["x"].tolist() == [pytest.approx(0.905)] * 3
    assert frame["y"].tolist() == [pytest.approx(4.0), pytest.approx(4.05), pytest.approx(4.1)]
    definition = figures.read_definition("phase")
    axis = drawing.draw_phase(definition, frame).axes[0]
    start, end = (marks.get_offsets()[0].tolist() for marks in axis.collections)
    assert (
        start == frame[["x", "y"]].iloc[0].tolist() and end == frame[["x", "y"]].iloc[-1].tolist()
    )
    held, _ = draw(root, "phase", stage="held")
    assert set(held["sampler"]) == {"rns", "dns", "ahns"}
