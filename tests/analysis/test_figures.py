import pandas as pd
import pytest

from hapens_bench import cli
from hapens_bench.analysis import experiments, figures
from hapens_bench.errors import UserError
from hapens_bench.tracking.run_folder import RunFolder


def fill(trials, rows) -> None:
    """Write run folders as a finished trial would have."""
    for k, one in enumerate(trials):
        folder = RunFolder(one.job.folder.path)
        folder.write_history(rows(k, one))
        test = {"NDCG@20": 0.04 + 0.001 * k}
        summary = {
            "run_id": folder.path.name,
            "config_id": "c",
            "model": "mf",
            "git_sha": "g",
            "data_hash": "h",
            "seed": 0,
        }
        summary |= {"dataset": one.params["dataset"], "sampler": one.params["sampler"]}
        folder.write_summary(summary | {"selection": {"test_peak": {"epoch": 1, "converged": True, "test": test}}})
        folder.write_status("done")


def history(k, one, pack_size=1):
    return [
        {
            "stage": "full",
            "epoch": epoch,
            "evaluated": epoch % 5 == 0,
            "seconds": (k + 1) * (10.0 if epoch % 5 == 0 else 1.0),
            "hardness/ratio": 0.5 + k - 0.01 * epoch,
            "hardness/percentile": 0.9,
            "test/NDCG@20": 0.04 + 0.0001 * epoch if epoch % 5 == 0 else float("nan"),
            "pack_size": pack_size,
        }
        for epoch in range(12)
    ]


def test_curves_are_read_from_histories_and_drawn(tmp_path, capsys):
    trials = experiments.planned("ahns_fig5", tmp_path / "runs")
    fill(trials[:4], history)
    assert cli.main(["figure", "ahns_fig5", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "ahns_fig5.svg" in told.out and told.err.count("not run yet: python -m hapens_bench") == len(trials) - 4
    frame = pd.read_csv(tmp_path / "ahns_fig5.csv")
    assert frame.groupby("panel").size().to_dict() == {
        "hardness/ratio": 48,
        "hardness/percentile": 48,
        "test/NDCG@20": 12,
    }
    row = frame[(frame["sampler"] == "dns") & (frame["panel"] == "hardness/ratio") & (frame["epoch"] == 11)].iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(1.39), 1)
    svg = (tmp_path / "ahns_fig5.svg").read_text()
    figures.write_figure("ahns_fig5", tmp_path / "runs", tmp_path)
    assert (tmp_path / "ahns_fig5.svg").read_text() == svg  # the same numbers draw the same file
    assert (tmp_path / "ahns_fig5.png").read_bytes()[:4] == b"\x89PNG"


def test_a_grid_of_two_keys(tmp_path):
    trials = experiments.planned("ahns_fig6", tmp_path)
    fill(trials, history)
    frame, missing = figures.write_figure("ahns_fig6", tmp_path, tmp_path)
    assert not missing and len(frame) == 25
    assert frame.loc[(frame["x"] == 0.3) & (frame["y"] == 0.1), "value"].item() == pytest.approx(4.0 + 0.1 * 5)


def test_times_of_epochs_without_evaluation_relative_to_the_base(tmp_path):
    trials = experiments.planned("ahns_fig7", tmp_path)
    fill(trials, history)
    frame, _ = figures.write_figure("ahns_fig7", tmp_path, tmp_path)
    tools = frame[frame["dataset"] == "tools"].set_index("sampler")
    assert tools.loc["rns", "ratio"] == 1 and tools.loc["dns", "ratio"] == 3


def test_epochs_of_packs_are_not_timed(tmp_path):
    trials = experiments.planned("ahns_fig7", tmp_path)
    fill(trials[:2], lambda k, one: history(k, one, pack_size=2))
    with pytest.raises(UserError, match="trained in a pack of 2"):
        figures.write_figure("ahns_fig7", tmp_path, tmp_path)


def test_nothing_to_draw_is_told(tmp_path):
    with pytest.raises(UserError, match="none of the trials of figure 'ahns_fig5' has been run"):
        figures.write_figure("ahns_fig5", tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"there is no figure 'x'; choose one of ahns_fig5"):
        figures.read_definition("x")
