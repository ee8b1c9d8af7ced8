"""The report as a file: its numbers, its commands, and what it does with damaged and hostile input."""

import base64
import hashlib
import json
import re
import shlex
import threading
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hapens_bench import cli
from hapens_bench.analysis import ledger, style
from hapens_bench.analysis.replicates import Replicates, compare
from hapens_bench.analysis.report import page
from hapens_bench.analysis.report.configs import differing, written
from hapens_bench.analysis.report.rerun import rerun_command
from hapens_bench.analysis.report.settings import MOST, compared, settings_of
from hapens_bench.analysis.statistics import holm
from hapens_bench.config import compose_config, conf_dir, run_id
from hapens_bench.errors import UserError
from tests.analysis.synthetic import METRICS, config_of, make_run, some_runs

ELEMENT = re.compile(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', re.DOTALL)
SAMPLERS = sorted(path.stem for path in (conf_dir() / "sampler").rglob("*.yaml"))
TUNED = sorted(path.stem for path in (conf_dir() / "tuned" / "paper").rglob("*.yaml"))


def made(root: Path, out: Path) -> dict:
    """Make a report and read its data back."""
    page.write_report(root, out)
    return {name: json.loads(text) for name, text in ELEMENT.findall(out.read_text())}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    some_runs(root)
    return root


@pytest.fixture(scope="module")
def data(runs, tmp_path_factory) -> dict:
    return made(runs, tmp_path_factory.mktemp("out") / "report.html")


def test_the_leaderboard_is_the_ledgers(runs, data):
    frame = ledger.load(runs).frame()
    shown, settings = data["ledger"]["rows"], data["ledger"]["settings"]
    expected = frame.groupby(["config_id", "selection", "metric"])["value"].agg(["mean", "std", "size"])
    seen = 0
    for row, (setting, selection) in enumerate(zip(shown["setting"], shown["selection"], strict=True)):
        for metric in METRICS:
            want = expected.loc[(settings["config_id"][setting], selection, metric)]
            assert shown["mean"][metric][row] == pytest.approx(100 * want["mean"], rel=1e-12)
            assert shown["n"][row] == want["size"]
            std = shown["std"][metric][row]
            assert std is None if want["size"] == 1 else std == pytest.approx(100 * want["std"], rel=1e-9)
            seen += 1
    assert seen == len(expected) == 7 * 3 * len(METRICS)
    assert data["ledger"]["runs"] == 11 and not data["ledger"]["skipped"]
    first = shown["setting"].index(settings["sampler"].index("dns"))
    assert shown["converged"][first] is False and all(shown["converged"]) is False


def test_settings_are_named_by_what_differs(data):
    settings = data["ledger"]["settings"]
    keys = {(d, s, k) for d, s, k in zip(settings["dataset"], settings["sampler"], settings["keys"], strict=True)}
    assert ("tools", "dns", "M=16 lr=0.002") in keys and ("phones", "dns", "") in keys and ("tools", "rns", "") in keys


def test_keys_of_the_same_name_are_told_apart():
    def config(M, trained, seed):
        parts = {
            "dataset": {"users": 3},
            "protocol": {"name": "p"},
            "model": {"name": "m", "lr": M},
            "loss": {"name": "l"},
        }
        return parts | {"sampler": {"name": "s"}, "trainer": {"lr": trained}, "seed": seed}

    assert differing([config(1, 0.1, 0), config(2, 0.2, 1)]) == [
        "model.lr=1 trainer.lr=0.1",
        "model.lr=2 trainer.lr=0.2",
    ]
    assert differing([config(1, 0.1, 0), config(1, 0.1, 7)]) == ["", ""]


def test_curves_are_means_and_ranges_over_seeds(runs, data):
    found = ledger.load(runs).runs
    ids, samplers = data["ledger"]["settings"]["config_id"], data["ledger"]["settings"]["sampler"]
    for dataset, n_curves in (("tools", 3), ("phones", 1)):
        k = next(
            k for k, s in enumerate(samplers) if s == "ahns" and data["ledger"]["settings"]["dataset"][k] == dataset
        )
        epochs = ledger.epochs([run for run in found if run["config_id"] == ids[k]])
        shown = data[f"curves-{k}"]
        for stage, judged in (("held", "valid"), ("full", "test")):
            part = epochs[epochs["stage"] == stage]
            score = 100 * part.groupby("epoch")[f"{judged}/NDCG@20"].agg(["mean", "min", "max"]).dropna()
            assert shown[stage]["metrics"]["epoch"] == list(score.index) == [0, 5, 10, 11]
            drawn = shown[stage]["metrics"]["curves"]["NDCG@20"]
            assert len(drawn) == n_curves and np.allclose(drawn, score.T.to_numpy()[:n_curves], rtol=1e-4)
            hardness = part.groupby("epoch")["hardness/false_negative_rate"].agg(["mean", "min", "max"])
            drawn = shown[stage]["hardness"]["curves"]["false_negative_rate"]
            assert np.allclose(drawn, hardness.T.to_numpy()[:n_curves], rtol=1e-4) and len(drawn[0]) == 12


def test_long_curves_are_thinned(tmp_path):
    folder = make_run(tmp_path)
    rows = [{"stage": "full", "epoch": e, "hardness/ratio": float(e), "test/NDCG@20": 0.1} for e in range(950)]
    folder.write_history(rows)
    drawn = made(tmp_path, tmp_path / "r.html")["curves-0"]["full"]["hardness"]
    assert drawn["epoch"] == list(range(0, 950, 10)) and drawn["curves"]["ratio"] == [
        [float(e) for e in range(0, 950, 10)]
    ]


def test_tests_are_those_of_the_statistics(runs, data):
    found = ledger.load(runs).runs
    ids = data["ledger"]["settings"]["config_id"]
    (group,) = (g for g in data["tests"] if (g["dataset"], g["selection"]) == ("tools", "valid"))
    assert len(group["settings"]) == 3  # dns once: its better setting
    members = [Replicates([run for run in found if run["config_id"] == ids[k]]) for k in group["settings"]]
    for metric in METRICS:
        pairs = [compare(a, b, "valid", metric) for a, b in combinations(members, 2)]
        shown = group["metrics"][metric]
        assert shown["difference"] == pytest.approx([seeds.difference for seeds, _ in pairs], rel=1e-4)
        assert shown["seeds"] == pytest.approx(holm([seeds.p for seeds, _ in pairs]), rel=1e-4)
        assert shown["users"] == pytest.approx(holm([users.p for _, users in pairs]), abs=0.02)
        assert shown["seedWords"] == shown["userWords"] == ["", "", ""]
    (single,) = (g for g in data["tests"] if (g["dataset"], g["selection"]) == ("phones", "valid"))
    shown = single["metrics"]["NDCG@20"]
    assert shown["seedWords"] == ["n = 1 seeds: no test"] * 3 and shown["seeds"] == [None] * 3
    assert max(shown["users"]) <= 1 and shown["userWords"] == ["", "", ""]


def test_what_is_compared_is_chosen_on_validation_and_bounded(tmp_path):
    for k, changes in enumerate([(), ("sampler.M=8",), ("sampler.M=16",)]):
        make_run(
            tmp_path, sampler="dns", changes=changes, level=0.05 + 0.01 * k, said={"validation": [0.1, 0.3, 0.2][k]}
        )
    for sampler in SAMPLERS:
        if sampler != "dns":
            make_run(tmp_path, sampler=sampler)
    settings = settings_of(ledger.load(tmp_path).runs, [])
    groups = compared(settings)
    assert len(groups) == 3
    for members in groups.values():
        assert len(members) == MOST < len(SAMPLERS) and settings[members[0]].keys == "M=8"
        assert len({settings[k].sampler for k in members}) == MOST


def test_without_validation_test_decides(tmp_path):
    for k, changes in enumerate([(), ("sampler.M=8",), ("sampler.M=16",)]):
        make_run(tmp_path, sampler="dns", changes=changes, level=[0.1, 0.3, 0.2][k], said={"validation": None})
    settings = settings_of(ledger.load(tmp_path).runs, [])
    assert [[settings[k].keys for k in members] for members in compared(settings).values()] == [["M=8"]] * 3


def again(config: dict) -> str:
    """Compose what the command of a config composes, and give its run id."""
    start, overrides = shlex.split(f"{rerun_command(config)} seed={config['seed']}")[:3], None
    overrides = shlex.split(f"{rerun_command(config)} seed={config['seed']}")[3:]
    assert start == ["python", "-m", "hapens_bench"]
    return run_id(compose_config(overrides))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_command_of_every_sampler_gives_the_same_run(sampler):
    config = config_of("tools", sampler, 3)
    assert again(config) == run_id(config)
    assert len(SAMPLERS) >= 14


@pytest.mark.parametrize("tuned", TUNED)
def test_the_command_of_every_tuned_config_gives_the_same_run(tuned):
    dataset, model, sampler = re.fullmatch(r"(.+)-(\w+)-(\w+)", tuned).groups()
    config = compose_config([f"dataset={dataset}", f"model={model}", f"sampler={sampler}", "tuned=paper", "seed=7"])
    assert again(config) == run_id(config)


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler=softmax", "loss=bpr", "sampler.take=one", "sampler.rho=1e-05"],
        ["sampler=ssm", "loss=sampled_softmax", "model.similarity=cosine", "dataset=ml-1m"],
        ["protocol=clean", "protocol.metrics=[NDCG@10]", "protocol.monitor=NDCG@10", "trainer.patience=null"],
        ["dataset.users=60", "dataset.noise=0.1", "trainer.drop_last=false", "protocol.filter.k_core=5"],
        ["experiment=tune_ahns", "dataset=phones", "sampler=dns", "sampler.M=64", "trainer.lr=0.000751"],
        [
            "+dataset.note='it''s a \"b\" \\\\ c, d'",
            "~dataset.noise",
            "+dataset.list=[1,null,{a:x y}]",
            "+dataset.word='true'",
        ],
    ],
)
def test_the_command_sets_whatever_differs(overrides):
    config = compose_config([override.replace("''", "\\'") for override in overrides])
    assert again(config) == run_id(config)


def test_values_are_written_so_that_hydra_reads_them_back():
    values = [
        None,
        True,
        False,
        3,
        -2.5,
        1e-07,
        "word",
        "true",
        "null",
        "1e3",
        "",
        " a b ",
        "it's",
        "\\'",
        "end\\",
        "a,b:{c}",
        "$x=y",
    ]
    values += [[1, "x y", [None]], {"a": 1, "b": {"c": "d e"}}, [], {}]
    for value in values:
        assert compose_config([f"+probe={written(value)}"])["probe"] == value


def test_no_command_is_given_for_what_is_not_here():
    config = config_of("tools", "rns", 0)
    for name in ("easiest", "../sampler/rns", "rns,dns"):
        with pytest.raises(UserError, match="no command can be given: there is no conf/sampler/"):
            rerun_command(config | {"sampler": {"_target_": "easiest.Easiest", "name": name}})


def test_details_hold_configs_commands_and_large_seeds(tmp_path):
    folder = make_run(tmp_path, sampler="softmax", seed=2**61 + 1)
    details = made(tmp_path, tmp_path / "r.html")["details"]
    ((run,),), (command,), texts = details["runs"], details["commands"], details["texts"]
    assert "".join(texts[place] for place in run["config"]) == (folder.path / "config.yaml").read_text()
    overrides = shlex.split(f"{command['line']} seed={run['seed']}")[3:]
    assert run_id(compose_config(overrides)) == run["run_id"] == folder.path.name
    assert texts[run["versions"]] == "python 3.11" and run["epochs"] == dict.fromkeys(run["epochs"], 5 + 2**61 + 1)


HOSTILE = "<img src=x onerror='hacked=1'></script><script>alert(1)</script>&amp;\u2028\u2029\ud800{{data}}"


def test_no_string_leads_out_of_its_element(tmp_path):
    make_run(tmp_path, sampler="dns")
    make_run(tmp_path, said=dict.fromkeys(("dataset", "protocol", "model", "sampler", "git_sha", "data_hash"), HOSTILE))
    folder = make_run(tmp_path, seed=1)
    folder.write_status("failed", HOSTILE)
    out = tmp_path / "r.html"
    data = made(tmp_path, out)
    text = out.read_text()
    assert "<img" not in text and "alert(1)</script>" not in text and "\u2028" not in text
    assert text.count("<script") == len(data) + 1
    assert HOSTILE in data["ledger"]["settings"]["dataset"] and data["ledger"]["unfinished"][0]["reason"] == HOSTILE


def test_the_policy_allows_what_is_inside_and_nothing_else(runs, tmp_path):
    made(runs, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy
    assert not re.search(r"<[^>]*\b(src|href)=", text)
    assert set(page.SCRIPTS) == {path.name for path in Path(page.__file__).parent.rglob("*.js")}


@pytest.mark.parametrize("name", ["summary.json", "status.json", "config.yaml", "history.parquet", "users.parquet"])
def test_a_run_cut_off_at_any_byte_is_named_and_the_report_made(tmp_path, name):
    for sampler in ("rns", "dns"):
        good, bad = (make_run(tmp_path / "runs", sampler=sampler, seed=seed) for seed in (0, 1))
    whole = (bad.path / name).read_bytes()
    for length in sorted({0, 1, 2, *range(3, len(whole) - 2, max(1, len(whole) // 12)), len(whole) - 3}):
        (bad.path / name).write_bytes(whole[:length])
        if whole[:length].endswith(b"\n") and b"\nlogger:" in whole[:length]:
            continue  # a config less a whole section that has no part in the result is a config
        data = made(tmp_path / "runs", tmp_path / "r.html")
        skipped = data["ledger"]["skipped"]
        assert len(skipped) == 1 and str(bad.path) in skipped[0] and name in skipped[0], (length, skipped)
        assert data["ledger"]["runs"] == (3 if name in ("summary.json", "status.json") else 4)
        assert good.path.name in [run["run_id"] for runs in data["details"]["runs"] for run in runs]
    (bad.path / name).write_bytes(whole)
    assert not made(tmp_path / "runs", tmp_path / "r.html")["ledger"]["skipped"]


def test_foreign_files_do_no_harm(tmp_path):
    root = tmp_path / "runs"
    good = make_run(root)
    (root / "notes.txt").write_text("mine")
    (root / "tools" / "mf" / "rns" / "stray.json").write_text("{}")
    (root / "tools" / "mf" / "rns" / "folder").mkdir()
    (good.path / "picture.png").write_bytes(b"\x89PNG")
    for k, (name, content) in enumerate(
        [
            ("config.yaml", b"\xff\xfe"),
            ("config.yaml", b"- a\n- b\n"),
            ("config.yaml", b"seed: 0\n"),
            ("config.yaml", (good.path / "config.yaml").read_bytes()),
            ("history.parquet", _parquet({"a": [1]})),
            ("history.parquet", _parquet({"epoch": ["x"], "stage": [1]})),
            ("users.parquet", _parquet({"user": [[1]], "selection": ["valid"]})),
        ]
    ):
        (make_run(root, seed=k + 1).path / name).write_bytes(content)
    data = made(root, tmp_path / "r.html")
    assert (
        data["ledger"]["runs"] == 8 and len(data["ledger"]["skipped"]) == 6
    )  # users are read where there is a pair to test
    make_run(root, sampler="dns", seed=7)
    data = made(root, tmp_path / "r.html")
    assert len(data["ledger"]["skipped"]) == 7
    words = [test["userWords"] for group in data["tests"] for test in group["metrics"].values()]
    assert words == [["a users.parquet cannot be used: no test"]] * 3 * len(METRICS)


def _parquet(columns: dict) -> bytes:
    return pd.DataFrame(columns).to_parquet(index=False)


def test_a_copied_run_counts_once_and_other_users_are_not_compared(tmp_path):
    first = make_run(tmp_path)
    first.path.with_name("copy").mkdir()
    for path in first.path.iterdir():
        (first.path.with_name("copy") / path.name).write_bytes(path.read_bytes())
    make_run(tmp_path, sampler="dns", users=41)
    data = made(tmp_path, tmp_path / "r.html")
    assert data["ledger"]["rows"]["n"] == [1] * 6 and "the same trial as" in data["ledger"]["skipped"][0]
    assert data["tests"][0]["metrics"]["NDCG@20"]["userWords"] == ["different users: no test"]


def test_values_that_are_not_numbers_are_left_empty(tmp_path):
    folder = make_run(tmp_path, said={"versions": None, "train_seconds": None})
    test = {"Recall@20": None, "NDCG@20": 0.5}
    folder.write_summary(
        folder.read_summary() | {"selection": {"valid": {"epoch": 1, "converged": True, "test": test}}}
    )
    text = (folder.path / "summary.json").read_text().replace('"train_seconds": null', '"train_seconds": NaN')
    (folder.path / "summary.json").write_text(text)
    data = made(tmp_path, tmp_path / "r.html")
    assert data["ledger"]["rows"]["mean"] == {"Recall@20": [None], "NDCG@20": [50.0]}
    assert data["details"]["runs"][0][0]["train_seconds"] is None


def test_reports_made_while_two_sweeps_write_are_whole(tmp_path):
    root, stop = tmp_path / "runs", threading.Event()
    for sampler in ("rns", "dns"):
        make_run(root, sampler=sampler)
    failed: list[Exception] = []

    def sweep(sampler: str) -> None:
        try:
            while not stop.is_set():
                for seed in range(4):
                    make_run(root, sampler=sampler, seed=seed).write_status("running")
                    make_run(root, sampler=sampler, seed=seed)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=sweep, args=(sampler,)) for sampler in ("rns", "dns")]
    for thread in threads:
        thread.start()
    try:
        counts = []
        for _ in range(8):
            found = made(root, tmp_path / "r.html")["ledger"]
            counts.append(found["runs"] + len(found["unfinished"]))
            assert not found["skipped"]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed and min(counts) >= 2 and [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


def test_the_command_line_writes_it_and_says_what_is_missing(tmp_path, capsys):
    make_run(tmp_path / "runs")
    bad = make_run(tmp_path / "runs", seed=1)
    (bad.path / "summary.json").write_text("{")
    out = tmp_path / "results" / "report.html"
    assert cli.main(["report", "--runs", str(tmp_path / "runs"), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "1 finished runs, 0 not finished" in told.out and f"skipped {bad.path}: summary.json" in told.err
    assert out.read_text().startswith("<!doctype html>")
    assert cli.main(["report", "--runs", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert (
        cli.main(["report", "--runs", str(tmp_path / "runs"), "--out", str(bad.path / "summary.json" / "x.html")]) == 2
    )
    assert capsys.readouterr().err.count("error: ") == 2


def test_an_empty_folder_gives_an_empty_report(tmp_path):
    data = made(tmp_path, tmp_path / "r.html")
    assert data["ledger"]["runs"] == 0 and data["ledger"]["rows"]["setting"] == [] and data["tests"] == []


def test_samplers_look_as_in_the_figures():
    looks = {sampler: page.stroke(sampler) for sampler in (*SAMPLERS, "of somebody else")}
    for sampler, (colour, dash) in looks.items():
        assert colour == style.line(sampler)["color"] and (dash == "") == (style.line(sampler)["linestyle"] == "-")
    assert len(set(map(tuple, looks.values()))) == len(looks)
    assert looks["mixgcf"][1] == "10 2 2 2 2 2"
