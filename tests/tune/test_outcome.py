"""What comes of a search on the planted data: seeds, failures, and what is written."""

import shutil

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from hapens_bench.cli import main, train
from hapens_bench.config.paths import conf_dir
from hapens_bench.runs.folder import RunFolder
from tests.tune.searches import PRUNED, SMALL, search, typed


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A writable copy of conf/."""
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    for module in ("config.compose", "config.paths", "cli.train", "config.mistakes", "tune.choose"):
        monkeypatch.setattr(f"hapens_bench.{module}.conf_dir", lambda: conf)
    return conf


class NoTest(dict):
    """A summary whose test metrics may not be read."""

    def __getitem__(self, key):
        assert key != "test", "a test metric was read"
        value = super().__getitem__(key)
        return NoTest(value) if isinstance(value, dict) else value

    def get(self, key, default=None):
        assert key != "test", "a test metric was read"
        return super().get(key, default)


def test_no_test_metric_is_read_and_no_other_stage_trained(tmp_path, monkeypatch, own_conf, capsys):
    plain = RunFolder.read_summary
    monkeypatch.setattr(RunFolder, "read_summary", lambda self: NoTest(plain(self)))
    monkeypatch.setattr(RunFolder, "read_frame", _guarded(RunFolder.read_frame))
    arguments = [
        "tune",
        "ahns",
        *typed(tmp_path, *PRUNED),
        "tune.setting=mine",
        f"tune.out={tmp_path}",
    ]
    assert main.main(arguments) == 0
    with pytest.raises(AssertionError, match="a test metric was read"):
        next(RunFolder(p.parent) for p in tmp_path.rglob("summary.json")).read_summary()[
            "selection"
        ]["valid"]["test"]
    assert (own_conf / "tuned" / "mine" / "planted-mf-dns.yaml").exists()
    printed = capsys.readouterr()
    assert "test/" not in printed.out + printed.err


def _guarded(plain):
    def read(self, name):
        assert name == "history", "only histories may be read"
        frame = plain(self, name)
        assert (frame["stage"] == "held").all() and not any(
            column.startswith("test/") for column in frame
        )
        return frame

    return read


def test_seeds_are_averaged_and_a_pruned_setting_gets_no_others(tmp_path):
    plan, frame = search(tmp_path, *PRUNED, "sampler=rns", "tune.seeds=2")
    (study,) = plan.studies
    for row in frame.to_dict("records"):
        jobs = [one.job for one in study.planned(row["trial"], row["setting"].split(), 2)]
        assert [job.folder.path.name for job in jobs] == row["run_ids"]
        if row["state"] == "pruned":
            assert not jobs[0].folder.is_done() and not jobs[1].folder.path.exists()
        else:
            assert (
                row["value"] == pytest.approx(np.mean([job.objective() for job in jobs]))
                and row["epochs"] == 8
            )
    assert set(frame["state"]) == {"complete", "pruned"}


def test_failed_trials_are_part_of_the_budget(tmp_path, own_conf, capsys):
    path = own_conf / "experiment" / "tune_ahns.yaml"
    text = path.read_text().replace(
        "trainer.lr: tag(log, interval(5e-4, 1e-2))", 'trainer.lr: "0.01,1e38"'
    )
    path.write_text(text)
    arguments = ["tune", "ahns", *typed(tmp_path, *SMALL), "sampler=rns", f"tune.out={tmp_path}"]
    assert main.main([*arguments, "tune.algorithm=random"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "2 of 6 trials failed; they are part of the budget" in printed
        and "trainer.lr=1e+38 seed=0" in printed
    )
    trials = pd.read_csv(tmp_path / "ahns_random" / "planted.csv")
    assert (
        trials["state"].tolist().count("failed") == 2
        and trials.loc[trials["state"] == "failed", "value"].isna().all()
    )
    curve = pd.read_csv(tmp_path / "ahns_random" / "planted_budget.csv")
    assert (
        curve["expected"].iloc[0] == pytest.approx(trials["value"].fillna(0).mean(), rel=1e-4)
        and len(curve) == 6
    )
    path.write_text(text.replace("0.01,1e38", "1e37,1e38"))
    assert main.main([*arguments, "tune.n_trials=2"]) == 2
    assert "no trial of rns on planted came to its end: the loss is" in capsys.readouterr().err


def test_from_search_to_tuned_files(tmp_path, own_conf, capsys):
    overrides = typed(
        tmp_path,
        *SMALL,
        "sampler=rns,dns",
        "tune.algorithm=random",
        "tune.pruner=none",
        "tune.n_trials=3",
    )
    arguments = ["tune", "ahns", *overrides, f"tune.out={tmp_path}/out"]
    assert main.main(arguments) == 0
    assert not (own_conf / "tuned" / "mine").exists()
    assert "tune.setting=NAME writes conf/tuned/NAME" in capsys.readouterr().out
    assert main.main([*arguments, "tune.setting=mine"]) == 0
    printed = capsys.readouterr().out
    assert "jobs:" not in printed, "nothing is trained again"
    assert "Would more tuning of rns have closed the gap?" in printed and "3 trials each" in printed
    trials = pd.read_csv(tmp_path / "out" / "ahns_random" / "planted.csv")
    for sampler, part in trials.groupby("sampler"):
        top = part.loc[part["value"].idxmax()]
        path = own_conf / "tuned" / "mine" / f"planted-mf-{sampler}.yaml"
        assert f"{top['value']:.4f}" in path.read_text() and "hapens tune ahns" in path.read_text()
        setting = dict(text.split("=") for text in top["setting"].split())
        written = OmegaConf.to_container(OmegaConf.load(path))
        assert (
            written["trainer"]["lr"] == float(setting["trainer.lr"])
            and written["trainer"]["epochs"] == 4
        )
    for suffix in ("_budget.svg", "_budget.png", "_budget.csv", "_gaps.csv", ".provenance.json"):
        assert (tmp_path / "out" / "ahns_random" / f"planted{suffix}").stat().st_size > 200
    swept = ["-m", "experiment=tune_ahns", *[o for o in overrides if not o.startswith("tune.")]]
    assert train.train([*swept, "hydra.sweeper.n_trials=3"]) == 0
    assert "6 jobs: 6 done, 0 to run" in capsys.readouterr().out, (
        "a sweep of the same budget has the same runs"
    )
