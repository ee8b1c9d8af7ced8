"""A tuning experiment on the planted data, from the sweep to the files of conf/tuned."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from hapens_bench.cli import main, train
from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.tune import choose


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A writable copy of conf/ with a small tuning experiment."""
    import shutil

    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    text = (conf / "experiment" / "tune_ahns.yaml").read_text()
    text = text.replace("dataset: tools,phones", "dataset: planted").replace(
        "rns,ssm,dns,mixgcf,dens,ahns", "rns,dns"
    )
    text = text.replace("epochs: 300", "epochs: 5").replace("eval_every: 10", "eval_every: 2")
    (conf / "experiment" / "tune_small.yaml").write_text(text.replace("n_trials: 8", "n_trials: 3"))
    for module in ("config.compose", "config.paths", "cli.train", "config.mistakes", "tune.choose"):
        monkeypatch.setattr(f"hapens_bench.{module}.conf_dir", lambda: conf)
    return conf


def test_from_sweep_to_tuned_files(own_conf, tmp_path, capsys):
    runs, out = tmp_path / "runs", tmp_path / "tuning"
    sweep = ["-m", "experiment=tune_small", f"paths.runs={runs}"]
    assert train.train([*sweep, "sampler=rns"]) == 0
    with pytest.raises(
        UserError,
        match=r"3 trials are not finished \(dns on planted\), the first: hapens train",
    ):
        choose.write_choice(["tune_small"], "mine", runs, [], [], [], out)
    with pytest.raises(UserError, match="tune_small has no sampler 'ahns'; choose of rns dns"):
        choose.write_choice(["tune_small"], "mine", runs, [], ["ahns"], [], out)
    alone = choose.write_choice(["tune_small"], "alone", runs, [], ["rns"], [], out)
    assert (
        list(alone.chosen["sampler"]) == ["rns"]
        and not (own_conf / "tuned" / "alone" / "planted-mf-dns.yaml").exists()
    )
    assert train.train(sweep) == 0
    assert "6 jobs: 3 done, 3 to run" in capsys.readouterr().out
    code = main.main(["choose", "tune_small", "mine", "--runs", str(runs), "--out", str(out)])
    assert code == 0 and "planted, 3 trials each: dns" in capsys.readouterr().out
    trials = pd.read_csv(out / "tune_small" / "planted.csv")
    assert trials.groupby("sampler").size().to_dict() == {"rns": 3, "dns": 3}
    best = trials.loc[trials.groupby("sampler")["value"].idxmax()].set_index("sampler")
    for sampler in ("rns", "dns"):
        path = own_conf / "tuned" / "mine" / f"planted-mf-{sampler}.yaml"
        text = path.read_text()
        assert f"{best.loc[sampler, 'value']:.4f}" in text and "best of 3 trials" in text
        config = compose_config(
            [
                "dataset=planted",
                f"sampler={sampler}",
                "tuned=none",
                *best.loc[sampler, "setting"].split(),
            ]
        )
        written = OmegaConf.to_container(OmegaConf.load(path))
        assert written["trainer"] == {k: config["trainer"][k] for k in ("lr", "l2")} | {
            "epochs": 5,
            "eval_every": 2,
        }
    (own_conf / "tuned" / "mine.yaml").write_text("# mine\nname: mine\n")
    again = compose_config(
        ["dataset=planted", "sampler=dns", "tuned=mine", "protocol.selection=[valid]"]
    )
    chosen = experiments.planned("tune_small", runs)[3 + int(best.loc["dns", "trial"])]
    assert (
        again["trainer"] == chosen.job.config["trainer"]
        and again["sampler"] == chosen.job.config["sampler"]
    )
    curve = pd.read_csv(out / "tune_small" / "planted_budget.csv")
    assert curve.groupby("sampler")["expected"].max().to_dict() == pytest.approx(
        best["value"].to_dict(), rel=1e-5
    )
    beside = json.loads((out / "tune_small" / "planted.provenance.json").read_text())
    written = {path.name: path.stat().st_size for path in (out / "tune_small").iterdir()}
    assert (
        set(beside["files"]) == set(written) - {"planted.provenance.json"}
        and min(written.values()) > 100
    )


def test_two_experiments_are_one_budget(own_conf, tmp_path, capsys):
    head = "# more\ndefaults: [tune_small, _self_]\nhydra: {sweeper: {n_trials: 2, seed: 5}}\n"
    (own_conf / "experiment" / "tune_more.yaml").write_text("# @package _global_\n" + head)
    runs, out = tmp_path / "runs", tmp_path / "tuning"
    for name in ("tune_small", "tune_more"):
        assert train.train(["-m", f"experiment={name}", f"paths.runs={runs}"]) == 0
    folders = ["--runs", str(runs), "--out", str(out)]
    assert main.main(["choose", "tune_small,tune_more", "mine", *folders]) == 0
    trials = pd.read_csv(out / "tune_small" / "planted.csv")
    assert trials.groupby("sampler")["trial"].apply(list).to_dict() == {
        "rns": [0, 1, 2, 3, 4],
        "dns": [0, 1, 2, 3, 4],
    }
    assert trials.groupby("sampler")["setting"].nunique().tolist() == [5, 5]
    assert main.main(["choose", "tune_small,tune_more", "mine", "--trials", "2,1", *folders]) == 0
    assert len(pd.read_csv(out / "tune_small" / "planted.csv")) == 6
    assert main.main(["choose", "tune_small,tune_more", "mine", "--trials", "2", *folders]) == 2


def test_nothing_run_and_unknown_names_are_told(own_conf, tmp_path, capsys):
    with pytest.raises(UserError, match="none of its trials has been run"):
        choose.write_choice(["tune_small"], "mine", tmp_path / "runs", [], [], [], tmp_path)
    with pytest.raises(
        UserError, match=r"there is no experiment 'nope'; choose one of .*tune_ahns"
    ):
        experiments.planned("nope", tmp_path)
    with pytest.raises(
        UserError, match=r"tune_small has no data set 'tools,phones'; choose of planted$"
    ):
        experiments.planned("tune_small", tmp_path, ["tools,phones"])
    assert main.main(["choose", "tune_small", "../up"]) == 2
    assert main.main(["choose", "tune_small", "mine", "--trials", "0"]) == 2
    assert "takes a whole number above 0 for each of tune_small" in capsys.readouterr().err


def test_what_a_setting_changed():
    base = {
        "model": {"D": 64},
        "loss": {},
        "sampler": {"M": 8},
        "trainer": {"lr": 0.001, "l2": 0.1},
    }
    new = {
        "model": {"D": 64},
        "loss": {},
        "sampler": {"M": 16, "a": 1},
        "trainer": {"lr": 0.002, "l2": 0.1},
    }
    assert choose.changed(new, base) == {"sampler": {"M": 16, "a": 1}, "trainer": {"lr": 0.002}}
