import pytest

from hapens_bench.tracking.trackio import TrackioSink
from tests.tracking.readers import curve, info, trackio_runs


def summary(recall):
    return {
        "selection": {
            "test_peak": {
                "epoch": 2,
                "converged": True,
                "test": {"Recall@20": recall, "NDCG@20": 0.5},
            }
        }
    }


def test_runs_that_are_open_at_the_same_time_are_kept_apart(tmp_path, trackio_folder, capsys):
    sinks = {seed: TrackioSink("apart", trackio_folder, None) for seed in (0, 1)}
    for seed, sink in sinks.items():
        sink.start(info(tmp_path, seed))
    for epoch in range(3):
        for seed, sink in sinks.items():
            sink.log(
                "full",
                epoch,
                {"train/loss": 0.5 - seed, "hardness/ratio": epoch / 10, "seconds": 1.0},
            )
    for seed, sink in sinks.items():
        sink.finish(summary(0.25 + seed))
    line = f"TRACKIO_DIR={trackio_folder} trackio show --project apart\n"
    assert capsys.readouterr().out.count(line) == 1, "how to look at it is said once"
    runs = trackio_runs(trackio_folder, "apart")
    assert set(runs) == {"id0", "id1"}
    for seed in (0, 1):
        run = runs[f"id{seed}"]
        assert run["name"] == f"planted-mf-dns-M8-s{seed}"
        assert run["config"]["_Group"] == "planted-mf"
        columns = ["dataset", "model", "sampler", "protocol", "seed", "sampler.M", "sweep"]
        flat = [run["config"][key] for key in columns]
        assert flat == ["planted", "mf", "dns", "ahns", seed, 8, "swept"]
        assert curve(run["logs"], "full/train/loss") == [0.5 - seed] * 3
        assert curve(run["logs"], "full/hardness/ratio") == [0.0, 0.1, 0.2]
        assert curve(run["logs"], "full/seconds") == []
        assert curve(run["logs"], "step") == [0, 1, 2, 3]
        assert curve(run["logs"], "test_peak/test/Recall@20") == [0.25 + seed]
        (table,) = curve(run["logs"], "results")
        row = {
            "selection": "test_peak",
            "epoch": 2,
            "converged": True,
            "Recall@20": 0.25 + seed,
            "NDCG@20": 0.5,
        }
        assert table["_value"] == [row]


def test_a_run_that_begins_anew_takes_the_place_of_what_was_under_its_id(tmp_path, trackio_folder):
    for loss in (0.9, 0.7):
        sink = TrackioSink("anew", trackio_folder, "mine")
        sink.start(info(tmp_path, 0, [{"stage": "held", "epoch": 0, "train/loss": loss}]))
        sink.log("held", 1, {"train/loss": loss - 0.1})
        sink.finish(summary(0.25))
    (run,) = trackio_runs(trackio_folder, "anew").values()
    assert curve(run["logs"], "held/train/loss") == [0.7, 0.7 - 0.1], (
        "with the rows that there were before"
    )
    assert run["config"]["_Group"] == "mine"


def test_a_run_that_failed_keeps_its_rows_and_an_alert(tmp_path, trackio_folder):
    sink = TrackioSink("failed", trackio_folder, None)
    sink.start(info(tmp_path, 0))
    sink.log("full", 0, {"train/loss": 0.5})
    sink.fail("the loss is nan")
    (run,) = trackio_runs(trackio_folder, "failed").values()
    assert curve(run["logs"], "full/train/loss") == [0.5]
    assert [(alert["level"], alert["text"]) for alert in run["alerts"]] == [
        ("error", "the loss is nan")
    ]


def test_a_second_folder_in_one_process_is_refused(tmp_path, trackio_folder):
    TrackioSink("one", trackio_folder, None).start(info(tmp_path, 0))
    with pytest.raises(RuntimeError, match=f"writes to {trackio_folder}, not to {tmp_path}"):
        TrackioSink("one", str(tmp_path), None).start(info(tmp_path, 0))
