import json
import re
from pathlib import Path

import pytest

from hapens_bench.tracking.wandb import WandbSink
from tests.tracking.readers import curve, info, wandb_synced


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


@pytest.mark.parametrize("packed", [False, True])
def test_offline_runs_need_no_account_and_wandb_sync_reads_all_of_them(
    tmp_path, capsys, monkeypatch, packed
):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    sinks = {seed: WandbSink("hapens_bench", None, "offline", None, 60) for seed in (0, 1)}

    def start(seed):
        (tmp_path / str(seed)).mkdir()
        sinks[seed].start(info(tmp_path / str(seed), seed))

    def log(seed, epoch):
        row = {
            "train/loss": 0.5 - seed,
            "hardness/ratio": epoch / 10,
            "hardness/ratio_q90": 0.9,
            "seconds": 1.0,
        }
        sinks[seed].log("full", epoch, row)

    def finish(seed):
        sinks[seed].finish(summary(0.25 + seed))

    calls = [[(start, s), *((log, s, epoch) for epoch in range(3)), (finish, s)] for s in (0, 1)]
    # one after the other, as in a sweep, or open at the same time, as in a pack
    for call, *given in (
        (c for step in zip(*calls) for c in step) if packed else calls[0] + calls[1]
    ):
        call(*given)
    places = re.findall(r"to upload this run: wandb sync (\S+)\n", capsys.readouterr().out)
    assert len(places) == 2
    for seed, place in enumerate(places):
        assert Path(place).is_relative_to(tmp_path / str(seed))
        synced = wandb_synced(place)
        run, config, history = synced["run"], synced["config"], synced["history"]
        names = run["name"], run["project"], run["groupName"], run["jobType"], run["displayName"]
        shown = f"planted-mf-dns-M8-s{seed}"
        assert names == (f"id{seed}", "hapens_bench", "planted-mf", "train", shown)
        assert run["tags"] == ["planted", "mf", "dns", "ahns"]
        columns = ["dataset", "model", "sampler", "protocol", "seed", "sampler.M", "sweep"]
        flat = [config[key]["value"] for key in columns]
        assert flat == ["planted", "mf", "dns", "ahns", seed, 8, "swept"]
        assert curve(history, "full/train/loss") == [0.5 - seed] * 3
        assert curve(history, "full/epoch") == [0, 1, 2]
        assert curve(history, "full/hardness/ratio") == [0.0, 0.1, 0.2]
        assert curve(history, "full/hardness/ratio_q90") == [0.9] * 3
        assert curve(history, "full/seconds") == []
        assert synced["summary"]["test_peak/test/Recall@20"] == 0.25 + seed
        assert "full/hardness/ratio" not in synced["summary"]
        assert synced["table"]["columns"] == [
            "selection",
            "epoch",
            "converged",
            "Recall@20",
            "NDCG@20",
        ]
        assert synced["table"]["data"] == [["test_peak", 2, True, 0.25 + seed, 0.5]]


def test_each_stage_has_its_own_epoch_axis(tmp_path, capsys):
    sink = WandbSink("hapens_bench", None, "offline", "mine", 60)
    rows = [
        {"stage": "held", "epoch": 0, "train/loss": 0.7},
        {"stage": "full", "epoch": 0, "train/loss": 0.6},
    ]
    sink.start(info(tmp_path, 0, rows))
    sink.log("full", 1, {"train/loss": 0.5})
    sink.finish(summary(0.25))
    synced = wandb_synced(capsys.readouterr().out.split()[-1])
    assert synced["run"]["groupName"] == "mine"
    assert curve(synced["history"], "held/train/loss") == [0.7], (
        "rows that there were before are told first"
    )
    assert curve(synced["history"], "full/train/loss") == [0.6, 0.5]
    defined = {}
    for metric in synced["config"]["_wandb"]["value"]["m"]:
        defined[metric.get("1") or metric.get("2")] = metric
    names = [
        metric.get("1") or metric.get("2") for metric in synced["config"]["_wandb"]["value"]["m"]
    ]
    for stage in ("held", "full"):
        for part in ("train", "hardness"):
            axis = defined[f"{stage}/{part}/*"]["5"]  # counted from 1
            assert names[axis - 1] == f"{stage}/epoch", json.dumps(defined)


def test_an_empty_run_is_not_offered_for_upload(tmp_path, capsys):
    for rows in ([], [{"stage": "held", "epoch": 0, "train/loss": 0.7}]):
        sink = WandbSink("hapens_bench", None, "offline", None, 60)
        sink.start(info(tmp_path, len(rows), rows))
        sink.fail("the tracker failed")
        assert ("wandb sync" in capsys.readouterr().out) == bool(rows)
