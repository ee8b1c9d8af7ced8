"""A sampler outside the checkout, put into a table of archived methods on the planted data."""

import json
import os
import re
import shutil
import time

import pandas as pd
import pytest
import torch

from hapens_bench.analysis.replicates import contrasts
from hapens_bench.analysis.tables.baselines import archived_rows
from hapens_bench.analysis.tables.definition import Cell, cells, read_definition
from hapens_bench.cli.main import main
from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.launch import sweep
from hapens_bench.launch.budget import settings
from hapens_bench.launch.job import Job
from hapens_bench.launch.run import run_pack
from hapens_bench.runs.archive import archives_below, open_run, summaries
from hapens_bench.runs.archiving import add
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load
from hapens_bench.tune import compare
from tests.runs.archived import TINY

PAGE = conf_dir().parent / "docs" / "compare_your_sampler.md"
USES_CONF = ("config.compose", "config.paths", "cli.train", "config.mistakes", "tune.choose")
USES_CONF += ("analysis.tables.baselines",)
TABLE = f"""
title: Tiny
model: mf
overrides: [protocol=ahns, model=mf, tuned=paper, {", ".join(TINY)}]
selections: [test_peak, valid, valid_refit]
honest_selection: valid_refit
compare: dns
metrics: [Recall@20, NDCG@20]
seeds: 3
samplers: {{rns: [sampler=rns], dns: [sampler=dns], ssm: [sampler=ssm]}}
datasets: [planted]
"""
SHARED = {
    "tune_tiny": {"trainer.l2": "interval(0.001, 0.1)", "trainer.lr": "interval(0.01, 0.05)"},
    "tune_tiny_fine": {"trainer.l2": "interval(0.01, 0.02)", "trainer.lr": "interval(0.02, 0.03)"},
}
EXPERIMENT = """# @package _global_
defaults:
  - override /tuned: none
  - override /hydra/sweeper: budget
protocol: {{selection: [valid]}}
dataset: {{users: 60, items: 300}}
trainer: {{batch_size: 128, epochs: 6, eval_every: 2}}
hydra:
  sweeper:
    n_trials: 2
    seed: {seed}
    params: {{dataset: planted, sampler: "rns,dns"}}
    shared: {shared}
    own: {{rns: {{}}, dns: {{}}}}
"""
EQUAL = "like: tiny\nbudget: {planted: {tune_tiny: 2, tune_tiny_fine: 1}}\ntitle: Tiny, equal\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two tables in a copy of conf/, archived runs of two of their rows, and a toy sampler."""
    root = tmp_path_factory.mktemp("world")
    conf = root / "conf"
    shutil.copytree(conf_dir(), conf)
    (conf / "table" / "tiny.yaml").write_text(TABLE)
    (conf / "table" / "tiny_equal.yaml").write_text(EQUAL)
    for seed, (name, shared) in enumerate(SHARED.items()):
        text = EXPERIMENT.format(seed=seed, shared=json.dumps(shared))
        (conf / "experiment" / f"{name}.yaml").write_text(text)
    blocks = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, text in zip(("boltzmann.py", "sampler", "space"), blocks, strict=True):
        path = root / "mine" / name / ("boltzmann.yaml" if name[-3:] != ".py" else "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for module in USES_CONF:
            patch.setattr(f"hapens_bench.{module}.conf_dir", lambda: conf)
        definition = read_definition("tiny")
        folders = []
        for cell in cells(definition)[:2]:
            for seed in range(3):
                words = [*cell.overrides, f"paths.runs={root / 'theirs'}", f"seed={seed}"]
                job = Job(compose_config(words), words)
                run_pack([job], torch.device("cpu"))
                folders.append(job.folder)
        add(folders, root / "archive" / "tiny")
        yield root


def command(world, folder, *words):
    """The command line on the toy sampler, with results in a folder."""
    chosen = ["sampler=boltzmann", "dataset=planted", f"paths.runs={folder / 'runs'}"]
    places = ["--config-dir", str(world / "mine"), "--archive", str(world / "archive")]
    return ["compare", *chosen, *places, "--out", str(folder / "out"), *words]


def result(folder, ending=".csv", dataset="planted"):
    return pd.read_csv(folder / "out" / "boltzmann" / f"{dataset}{ending}")


def forbid_training(monkeypatch):
    monkeypatch.setattr(sweep, "run_group", lambda jobs, *rest: pytest.fail(f"{len(jobs)} jobs"))


@pytest.fixture(scope="module")
def made(world):
    """The comparison at the papers' settings."""
    folder = world / "made"
    assert main(command(world, folder, "--trials", "4")) == 0
    return folder


def test_the_table_has_the_archived_rows_and_mine(world, made):
    table = result(made)
    assert table["sampler"].unique().tolist() == ["rns", "dns", "boltzmann"], "ssm is not archived"
    assert set(table["selection"]) == {"test_peak", "valid", "valid_refit"}
    assert (table["n"] == 3).all() and len(table) == 3 * 3 * 2 and table["paper"].isna().all()
    text = (made / "out" / "boltzmann" / "planted.md").read_text()
    assert "| planted | boltzmann | valid_refit | 3 |" in text
    assert "| planted | rns | test_peak | 3 |" in text and "| valid |" not in text
    assert "## boltzmann against the others, valid_refit" in text
    origin = json.loads((made / "out" / "boltzmann" / "planted.provenance.json").read_text())
    assert len(origin["runs"]) == 9 and origin["seeds"] == [0, 1, 2]
    theirs = {
        run["run_id"]: run["selection"] for run in summaries(archives_below(world / "archive"))
    }
    assert theirs.keys() < {run["run_id"] for run in origin["runs"]}
    assert not list((made / "runs" / "planted" / "mf").glob("[!b]*")), "no baseline is trained"


def test_the_paragraph_says_what_was_done(made):
    text = " ".join((made / "out" / "boltzmann" / "planted.md").read_text().split())
    (run,) = {run["data_hash"] for run in load(made / "runs").runs}
    best = result(made, "_trials.csv").sort_values("value").iloc[-1]
    for words in (
        "We compare boltzmann with 2 methods (rns, dns) on planted",
        "60 users, 300 items",
        f"hash {run}",
        "Learning rate (0.001), L2 (0.0001) and training length of boltzmann were not searched, "
        "but are the table's.",
        "the best of its 4 trials by Recall@20 on the validation part (4 scrambled Halton points "
        "over sampler.M of {8, 16, 32}, sampler.tau in [0.1, 2] (log); seed 0)",
        best["setting"],
        "with seeds 0, 1, 2;",
        "Code of boltzmann: boltzmann.py, SHA-256",
    ):
        assert words in text, words


def test_trials_are_of_the_samplers_own_keys_and_chosen_on_validation(made):
    trials = result(made, "_trials.csv")
    assert len(trials) == 4 and trials["trial"].tolist() == [0, 1, 2, 3]
    assert trials["setting"].str.fullmatch(r"sampler.M=\d+ sampler.tau=[\d.]+").all()
    runs = load(made / "runs").runs
    searched = [run for run in runs if set(run["selection"]) == {"valid"}]
    final = [run for run in runs if len(run["selection"]) == 3]
    assert {run["run_id"] for run in searched} == set(trials["run_id"]) and len(final) == 3
    best = trials.loc[trials["value"].idxmax(), "setting"]
    for run in final:
        keys = RunFolder(run["folder"]).read_config()["sampler"]
        assert best == f"sampler.M={keys['M']} sampler.tau={keys['tau']:g}"


def test_what_is_chosen_does_not_depend_on_test(world, made, tmp_path):
    """With other test numbers in the trials' folders, and no journal, the same trial is chosen."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / ".tune")
    trials = result(made, "_trials.csv")
    for run in load(tmp_path / "runs").runs:
        if set(run["selection"]) == {"valid"}:
            folder = RunFolder(tmp_path / "runs" / "planted" / "mf" / "boltzmann" / run["run_id"])
            summary = folder.read_summary()
            test = summary["selection"]["valid"]["test"]
            worse = 1.0 - float(trials.loc[trials["run_id"] == run["run_id"], "value"].iloc[0])
            summary["selection"]["valid"]["test"] = dict.fromkeys(test, worse)
            folder.write_summary(summary)
            folder.write_status("done")
    assert main(command(world, tmp_path, "--trials", "4")) == 0
    pd.testing.assert_frame_equal(result(tmp_path, "_trials.csv"), trials)
    pd.testing.assert_frame_equal(result(tmp_path), result(made))


def test_the_tests_are_those_of_the_runs(world, made):
    theirs = archived_rows(
        "tiny", read_definition("tiny"), "planted", summaries(archives_below(world / "archive"))
    )
    mine = Cell([run for run in load(made / "runs").runs if len(run["selection"]) == 3])
    tested = result(made, "_tests.csv").set_index(["selection", "metric", "against"])
    assert len(tested) == 3 * 2 * 2
    for selection in ("test_peak", "valid", "valid_refit"):
        for metric in ("Recall@20", "NDCG@20"):
            others = {cell.sampler: cell for cell in theirs.cells}
            for name, test in contrasts(mine, others, selection, metric).items():
                row = tested.loc[(selection, metric, name)]
                n = open_run(mine.runs[0]["folder"]).read_frame("users")["user"].nunique()
                assert row["users"] == test.users.n == n and row["seeds"] == 3
                for column, value in (
                    ("p_users_holm", test.p_users),
                    ("p_t_holm", test.p_seeds),
                    ("difference", test.seeds.difference),
                    ("users_low", test.users.low),
                ):
                    assert row[column] == pytest.approx(value, rel=1e-5, nan_ok=True)


def test_typed_again_nothing_is_trained(world, made, monkeypatch, tmp_path):
    forbid_training(monkeypatch)
    before = result(made)
    assert main(command(world, made, "--trials", "4")) == 0
    pd.testing.assert_frame_equal(result(made), before)
    words = command(world, made, "--trials", "4", f"hydra.searchpath=[file://{world / 'mine'}]")
    del words[words.index("--config-dir") : words.index("--config-dir") + 2]
    assert main(words) == 0, "the folder may be named in Hydra's way, too"
    pd.testing.assert_frame_equal(result(made), before)


@pytest.mark.parametrize("at", [0, 2])
def test_after_a_kill_it_goes_on(world, made, monkeypatch, tmp_path, at):
    calls, plain = [], sweep.run_group

    def killed(jobs, *rest):
        calls.append(jobs)
        if len(calls) == at + 1:
            plain(jobs[:1], *rest)
            raise KeyboardInterrupt
        plain(jobs, *rest)

    monkeypatch.setattr(sweep, "run_group", killed)
    assert main(command(world, tmp_path, "--trials", "4")) == 130
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("summary.json")}
    monkeypatch.setattr(sweep, "run_group", plain)
    assert done and main(command(world, tmp_path, "--trials", "4")) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    pd.testing.assert_frame_equal(result(tmp_path), result(made))


def test_equal_budgets_are_the_trials_that_the_others_had(world, tmp_path, capsys):
    assert main(command(world, tmp_path, "--table", "tiny_equal")) == 0
    assert "learning rate and L2 are" not in capsys.readouterr().out
    trials = result(tmp_path, "_trials.csv")
    theirs = [
        *settings(SHARED["tune_tiny"], {}, 2, 0),
        *settings(SHARED["tune_tiny_fine"], {}, 1, 1),
    ]
    assert [setting.split()[:2] for setting in trials["setting"]] == theirs
    assert trials["setting"].str.contains("sampler.tau").all()
    final = [run for run in load(tmp_path / "runs").runs if len(run["selection"]) == 3]
    best = trials.loc[trials["value"].idxmax(), "setting"]
    for run in final:
        config = RunFolder(run["folder"]).read_config()
        assert config["trainer"]["epochs"] == 6, "the training length of the search"
        assert f"trainer.lr={config['trainer']['lr']:.3g}" in best
    text = " ".join((tmp_path / "out" / "boltzmann" / "planted.md").read_text().split())
    assert "Every method has the best of 3 trials" in text


def test_a_small_space_is_tried_whole_and_no_space_is_the_yaml(world, tmp_path, capsys):
    few = ["sampler.M=8,16", "sampler.tau=0.5"]
    assert main(command(world, tmp_path, *few)) == 0
    trials = result(tmp_path, "_trials.csv")
    assert sorted(trials["setting"]) == ["sampler.M=16", "sampler.M=8"]
    text = " ".join((tmp_path / "out" / "boltzmann" / "planted.md").read_text().split())
    assert "Set for boltzmann alone: sampler.tau=0.5." in text
    other = tmp_path / "other"
    assert main(command(world, other, "--trials", "1")) == 0
    assert "none of the sampler's own keys are searched" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (other / "out" / "boltzmann" / "planted_trials.csv").exists()
    assert {len(run["selection"]) for run in load(other / "runs").runs} == {3}
    text = " ".join((other / "out" / "boltzmann" / "planted.md").read_text().split())
    assert "The settings of boltzmann were not searched: M=32, tau=1." in text


WRONG = [
    (["dataset=planted,tools"], "takes one sampler and one data set at a time"),
    (["dataset=tools"], "has no runs of a table with model=mf on tools; it has tiny on planted"),
    (["model=lightgcn"], "has no runs of a table with model=lightgcn on planted"),
    (["--table", "ahns_table2"], "table ahns_table2 has no data set 'planted'; it has ml-1m"),
    (["--table", "nope"], "there is no table 'nope'; choose one of"),
    (["--table", "tiny", "model=lightgcn"], "table tiny is of model=mf, not lightgcn"),
    (["--table", "tiny_equal", "--trials", "4"], "has equal budgets"),
    (["--trials", "0"], "--trials is '0', but it takes a whole number above 0"),
    (["--no-archive"], "takes the other methods from an archive"),
    (["archive=ignore"], "takes its archive as --archive DIR"),
    (["protocol=clean"], "protocol is the same for all methods of a table"),
    (["dataset.users=70"], "dataset.users is the same for all methods"),
    (["seed=3"], "seed is the same for all methods"),
    (["trainer.lr=0.1,0.2"], "only sampler.KEY and loss.KEY may be searched"),
    (["sampler=nope"], "there is no sampler 'nope'; choose one of"),
    (["sampler=dns"], "dns is a row of table tiny already"),
    (["sampler=rns_as", "--trials", "3"], "there is nothing to search in 3 trials"),
    (["sampler.nope=1"], "there is no key sampler.nope"),
    (["sampler.tau=-1"], "sampler.tau is -1, but it takes a number above 0"),
    (["sampler.M=5000", "--trials", "1"], "sampler.M is 5000, but planted has 300 items"),
    (["tune.n_trials=3"], "takes no tune.n_trials; take --trials"),
    (["tune.setting=x"], "takes no tune.setting; it takes tune.algorithm"),
    (["tune.nope=3"], "there is no key tune.nope"),
    (["--config-dir", "/nowhere"], "there is no folder /nowhere"),
    (["hydra.searchpath=/nowhere"], "names no list"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda value: "".join(value)[:30])
def test_wrong_words_are_one_sentence(world, tmp_path, capsys, monkeypatch, words, said):
    forbid_training(monkeypatch)
    names = tuple(word.partition("=")[0] + "=" for word in words if "=" in word)
    before = [word for word in command(world, tmp_path) if not names or not word.startswith(names)]
    typed = [*before, *words]
    assert main(typed) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


def test_samplers_and_data_must_be_named(world, capsys):
    assert main(["compare", "--archive", str(world / "archive")]) == 2
    assert "lacks sampler and dataset" in capsys.readouterr().err


def test_other_data_are_refused(world, tmp_path, capsys, monkeypatch):
    plain = compare.load_split

    class Other:
        data_hash = "other"

    monkeypatch.setattr(compare, "load_split", lambda config: Other if plain(config) else None)
    assert main(command(world, tmp_path)) == 2
    assert "were made on other data" in capsys.readouterr().err


def test_runs_older_than_the_code_are_told(world, made, capsys):
    file = world / "mine" / "boltzmann.py"
    old = file.stat().st_mtime
    os.utime(file, (time.time() + 60,) * 2)
    try:
        assert main(command(world, made, "--trials", "4")) == 0
        told = capsys.readouterr().err
        assert "boltzmann.py is newer than" in told and "count as they are" in told
    finally:
        os.utime(file, (old, old))
    assert main(command(world, made, "--trials", "4")) == 0
    assert "newer" not in capsys.readouterr().err
