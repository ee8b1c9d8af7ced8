"""Every figure from synthetic run folders: numbers, files, refusals, and legibility."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from omegaconf import OmegaConf

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.analysis.figures import drawing, indicators
from hapens_bench.cli import main
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.runs.folder import RunFolder
from tests.analysis.runs import write_run

NAMES = sorted(path.stem for path in (conf_dir() / "figure").glob("*.yaml"))
GENERAL = [name for name in NAMES if "experiment" not in figures.read_definition(name)]


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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two seeds of three samplers, one setting each."""
    root = tmp_path_factory.mktemp("runs")
    for sampler in ("rns", "dns", "ahns"):
        for seed in (0, 1):
            write_run(root, "dataset=tools", f"sampler={sampler}", f"seed={seed}")
    return root


@pytest.fixture
def draw(tmp_path):
    """Write a figure of a folder of runs and return its data."""
    return lambda root, name, stage=None, **where: figures.write_figure(
        name, root, tmp_path / "out", where, stage
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_with_all_its_files(root, name, tmp_path):
    runs = root
    if name not in GENERAL:
        runs = tmp_path / "runs"
        fill(experiments.planned(figures.read_definition(name)["experiment"], runs)[:4], history)
    frame, notes = figures.write_figure(name, runs, tmp_path)
    assert len(frame) and all(
        "not run yet" in note or "have no sampler.alpha" in note for note in notes
    )
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / f"{name}.svg").read_text().count("<path") > 10
    written = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False, na_values=[""])
    assert list(written.columns) == list(frame.columns) and len(written) == len(frame)
    origin = json.loads((tmp_path / f"{name}.provenance.json").read_text())
    assert (
        all((tmp_path / file).exists() for file in origin["files"])
        and f"{name}.csv" in origin["files"]
    )
    assert {run["run_id"] for run in origin["runs"]} <= {
        path.parent.name for path in runs.rglob("summary.json")
    }
    assert len(origin["runs"]) >= 2 and origin["data_hashes"]


@pytest.mark.parametrize("name", GENERAL)
def test_the_same_numbers_draw_the_same_files(root, name, tmp_path):
    for out in ("one", "two"):
        figures.write_figure(name, root, tmp_path / out)
    for suffix in ("svg", "png", "csv"):
        assert (tmp_path / "one" / f"{name}.{suffix}").read_bytes() == (
            tmp_path / f"two/{name}.{suffix}"
        ).read_bytes()


@pytest.mark.parametrize("name", GENERAL)
def test_text_is_large_enough_and_no_legend_lies_over_the_data(root, draw, name):
    definition, (frame, _) = figures.read_definition(name), draw(root, name)
    figure = figures.KINDS[definition["kind"]].draw(definition, frame)
    FigureCanvasAgg(figure).draw()
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert len(sizes) > 6 and min(sizes) >= 7
    panels = [axis.get_window_extent() for axis in figure.axes]
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(panel) for panel in panels) and box.x1 <= figure.bbox.x1
        labels = [text.get_text() for text in legend.get_texts()]
        assert sorted(labels) == sorted(set(frame["sampler"]))


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
        and told.err.count("not run yet: python -m hapens_bench") == len(trials) - 4
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


def test_an_experiment_is_filtered_too(tmp_path, capsys):
    trials = experiments.planned("ahns_fig5", tmp_path / "runs")
    fill(trials[:4], history)
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    assert (
        main.main(["figure", "ahns_fig5", *folders, "--where", "dataset=tools", "sampler=dns,rns"])
        == 0
    )
    assert not capsys.readouterr().err  # what is not run yet lies outside the filter
    assert set(pd.read_csv(tmp_path / "ahns_fig5.csv")["sampler"]) == {"rns", "dns"}
    assert main.main(["figure", "ahns_fig5", *folders, "--where", "dataset=phones"]) == 2
    assert (
        "none of the 4 trials of experiment 'ahns_fig5' has been run; the first: python"
        in capsys.readouterr().err
    )


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


def test_a_stage_that_runs_do_not_have_is_told(tmp_path, draw):
    write_run(tmp_path, "sampler=rns", stages=("held",))
    message = "none of the 1 runs has stage full; they have held: add --stage held"
    with pytest.raises(UserError, match=message):
        draw(tmp_path, "hardness")
    assert len(draw(tmp_path, "hardness", stage="held")[0]) == 48
    frame, notes = draw(tmp_path, "metrics")
    assert set(frame["panel"]) == {"valid/Recall@20", "valid/NDCG@20"}
    assert "none of the runs has logged test/NDCG@20, so its panel is left out" in notes
    write_run(tmp_path, "sampler=dns")
    frame, notes = draw(tmp_path, "hardness")
    assert set(frame["sampler"]) == {"dns"} and notes == [
        "1 of 2 runs have no stage full and are left out"
    ]
    with pytest.raises(
        UserError, match="figure pool_size shows what runs report, not their epochs"
    ):
        draw(tmp_path, "pool_size", stage="held")


@pytest.fixture
def own_figure(tmp_path, monkeypatch):
    """Write a custom figure into a custom conf/figure."""
    (tmp_path / "conf" / "figure").mkdir(parents=True)
    monkeypatch.setattr(
        figures, "conf_file", lambda group, name: tmp_path / "conf" / group / f"{name}.yaml"
    )

    def write(**definition) -> None:
        OmegaConf.save(OmegaConf.create(definition), tmp_path / "conf" / "figure" / "own.yaml")

    return write


def test_a_figure_of_ones_own(root, draw, own_figure):
    own = {"title": "own", "kind": "curves", "band": "seeds"}
    own_figure(**own, panels={"test/NDCG@20": "test"})
    frame, _ = draw(root, "own")
    assert set(frame["panel"]) == {"test/NDCG@20"} and frame["mean"].max() == pytest.approx(4.1)
    own_figure(**own, panels={"hardness/ratio": "ratio"})
    with pytest.raises(
        UserError,
        match="hardness/ratio is logged in the stages full and held; choose one with --stage",
    ):
        draw(root, "own")
    own_figure(**own, panels={"test/AUC": "AUC"})
    with pytest.raises(
        UserError, match="none of the runs has test/AUC, so there is nothing to draw"
    ):
        draw(root, "own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pie"}, "kind is 'pie', but it takes one of curves, phase, bars, grid, pool"),
        ({"band": "sd"}, "band is 'sd', but it takes one of seeds, negatives"),
        ({"stage": "test"}, "stage is 'test', but it takes one of held, full"),
        (
            {"from_epoch": 3},
            "from_epoch is missing or unknown; kind curves takes band, kind, .* and optionally",
        ),
    ],
)
def test_mistakes_in_a_figure_of_ones_own_are_told(root, draw, own_figure, change, message):
    own_figure(
        **{
            "title": "own",
            "kind": "curves",
            "band": "seeds",
            "panels": {"hardness/ratio": "r"},
            **change,
        }
    )
    with pytest.raises(UserError, match=message):
        draw(root, "own")


def test_a_key_that_a_kind_needs_is_told(root, draw, own_figure):
    own_figure(title="own", kind="bars", stage="full")
    with pytest.raises(
        UserError, match="base is missing or unknown; kind bars takes base, kind, stage, title"
    ):
        draw(root, "own")


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


def test_nothing_to_draw_is_told(tmp_path):
    with pytest.raises(
        UserError, match="none of the 12 trials of experiment 'ahns_fig5' has been run"
    ):
        figures.write_figure("ahns_fig5", tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"there is no figure 'x'; choose one of ahns_fig5"):
        figures.read_definition("x")


def test_from_the_command_line(root, tmp_path, capsys):
    folders = ["--runs", str(root), "--out", str(tmp_path)]
    assert (
        main.main(
            ["figure", "hardness", *folders, "--where", "sampler=dns", "seed=0", "--stage", "held"]
        )
        == 0
    )
    assert "48 points; written:" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "hardness.csv")
    assert set(frame["sampler"]) == {"dns"} and set(frame["n"]) == {1}
    for words in (["--where", "sampler=none"], ["--where", "some.key=1"], ["--where", "tools"]):
        assert main.main(["figure", "hardness", *folders, *words]) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: --where") and told.count("\n") == 1


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
