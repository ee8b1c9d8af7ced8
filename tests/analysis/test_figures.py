"""Every figure from synthetic run folders: numbers, files, refusals, and legibility."""

import functools
import json

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.cli import main
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from tests.analysis.runs import write_run
from tests.analysis.trials import fill, history

# Figures of a table: tests/analysis/test_across.py
NAMES = sorted(
    path.stem
    for path in (conf_dir() / "figure").glob("*.yaml")
    if "table" not in figures.read_definition(path.stem)
)
GENERAL = [name for name in NAMES if "experiment" not in figures.read_definition(name)]


@pytest.fixture(scope="module")
def written(root, tmp_path_factory):
    """Write a figure once; return its folder, the folder of its runs, its data and notes."""

    @functools.cache
    def write(name):
        folder, runs = tmp_path_factory.mktemp(name), root
        if name not in GENERAL:
            runs = folder / "runs"
            trials = experiments.planned(figures.read_definition(name)["experiment"], runs)
            fill(trials[:4], history)
        return folder, runs, *figures.write_figure(name, runs, folder)

    return write


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_with_all_its_files(written, name):
    folder, runs, frame, notes = written(name)
    assert len(frame) and all(
        "not run yet" in note or "have no sampler.alpha" in note for note in notes
    )
    assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / f"{name}.svg").read_text().count("<path") > 10
    written = pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
    assert list(written.columns) == list(frame.columns) and len(written) == len(frame)
    origin = json.loads((folder / f"{name}.provenance.json").read_text())
    assert (
        all((folder / file).exists() for file in origin["files"])
        and f"{name}.csv" in origin["files"]
    )
    assert {run["run_id"] for run in origin["runs"]} <= {
        path.parent.name for path in runs.rglob("summary.json")
    }
    assert len(origin["runs"]) >= 2 and origin["data_hashes"]


@pytest.mark.parametrize("name", GENERAL)
def test_the_same_numbers_draw_the_same_files(written, name, tmp_path):
    folder, runs, *_ = written(name)
    figures.write_figure(name, runs, tmp_path)
    for file in (f"{name}.svg", f"{name}.png", f"{name}.csv"):
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes()


@pytest.mark.parametrize("name", GENERAL)
def test_text_is_large_enough_and_no_legend_lies_over_the_data(written, name):
    definition, (_, _, frame, _) = figures.read_definition(name), written(name)
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
        "none of the 4 trials of experiment 'ahns_fig5' has been run; the first: hapens train"
        in capsys.readouterr().err
    )


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
