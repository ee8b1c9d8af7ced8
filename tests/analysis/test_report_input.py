"""The report of damaged, foreign, hostile and changing run folders."""

import base64
import hashlib
import re
import threading
from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.analysis.report import page
from hapens_bench.cli import main
from tests.analysis.synthetic import METRICS, made, make_run

HOSTILE = "<img src=x onerror='hacked=1'></script><script>alert(1)</script>"
HOSTILE += "&amp;\u2028\u2029\ud800{{data}}"


def test_no_string_leads_out_of_its_element(tmp_path):
    make_run(tmp_path, sampler="dns")
    make_run(
        tmp_path,
        said=dict.fromkeys(
            ("dataset", "protocol", "model", "sampler", "git_sha", "data_hash"), HOSTILE
        ),
    )
    folder = make_run(tmp_path, seed=1)
    folder.write_status("failed", HOSTILE)
    out = tmp_path / "r.html"
    data = made(tmp_path, out)
    text = out.read_text()
    assert "<img" not in text and "alert(1)</script>" not in text and "\u2028" not in text
    assert text.count("<script") == len(data) + 1
    assert (
        HOSTILE in data["ledger"]["settings"]["dataset"]
        and data["ledger"]["unfinished"][0]["reason"] == HOSTILE
    )


def test_the_policy_allows_what_is_inside_and_nothing_else(tmp_path):
    make_run(tmp_path)
    made(tmp_path, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert (
        policy.startswith("default-src 'none'; ")
        and "unsafe" not in policy
        and "http" not in policy
    )
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy
    assert not re.search(r"<[^>]*\b(src|href)=", text)
    assert set(page.SCRIPTS) == {path.name for path in Path(page.__file__).parent.rglob("*.js")}


@pytest.mark.parametrize(
    "name", ["summary.json", "status.json", "config.yaml", "history.parquet", "users.parquet"]
)
def test_a_run_cut_off_at_any_byte_is_named_and_the_report_made(tmp_path, name):
    for sampler in ("rns", "dns"):
        good, bad = (make_run(tmp_path / "runs", sampler=sampler, seed=seed) for seed in (0, 1))
    whole = (bad.path / name).read_bytes()
    for length in sorted(
        {0, 1, 2, *range(3, len(whole) - 2, max(1, len(whole) // 12)), len(whole) - 3}
    ):
        (bad.path / name).write_bytes(whole[:length])
        if whole[:length].endswith(b"\n") and b"\nlogger:" in whole[:length]:
            continue  # a config less a whole section that has no part in the result is a config
        data = made(tmp_path / "runs", tmp_path / "r.html")
        skipped = data["ledger"]["skipped"]
        assert len(skipped) == 1 and str(bad.path) in skipped[0] and name in skipped[0], (
            length,
            skipped,
        )
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
        folder = make_run(root, seed=k + 1)
        (folder.path / name).write_bytes(content)
        folder.write_status("done")
    data = made(root, tmp_path / "r.html")
    # Users are read where there is a pair to test.
    assert data["ledger"]["runs"] == 8 and len(data["ledger"]["skipped"]) == 6
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
    assert (
        data["ledger"]["rows"]["n"] == [1] * 6
        and "the same trial as" in data["ledger"]["skipped"][0]
    )
    assert data["tests"][0]["metrics"]["NDCG@20"]["userWords"] == ["different users: no test"]


def test_values_that_are_not_numbers_are_left_empty(tmp_path):
    folder = make_run(tmp_path, said={"versions": None, "train_seconds": None})
    test = {"Recall@20": None, "NDCG@20": 0.5}
    folder.write_summary(
        folder.read_summary()
        | {"selection": {"valid": {"epoch": 1, "converged": True, "test": test}}}
    )
    text = (
        (folder.path / "summary.json")
        .read_text()
        .replace('"train_seconds": null', '"train_seconds": NaN')
    )
    (folder.path / "summary.json").write_text(text)
    folder.write_status("done")
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
    assert (
        not failed
        and min(counts) >= 2
        and [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []
    )


def test_the_command_line_writes_it_and_says_what_is_missing(tmp_path, capsys):
    make_run(tmp_path / "runs")
    bad = make_run(tmp_path / "runs", seed=1)
    (bad.path / "summary.json").write_text("{")
    out = tmp_path / "results" / "report.html"
    assert main.main(["report", "--runs", str(tmp_path / "runs"), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert (
        "1 finished runs, 0 not finished" in told.out
        and f"skipped {bad.path}: summary.json" in told.err
    )
    assert out.read_text().startswith("<!doctype html>")
    assert main.main(["report", "--runs", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert (
        main.main(
            [
                "report",
                "--runs",
                str(tmp_path / "runs"),
                "--out",
                str(bad.path / "summary.json" / "x.html"),
            ]
        )
        == 2
    )
    assert capsys.readouterr().err.count("error: ") == 2


def test_an_empty_folder_gives_an_empty_report(tmp_path):
    data = made(tmp_path, tmp_path / "r.html")
    assert (
        data["ledger"]["runs"] == 0
        and data["ledger"]["rows"]["setting"] == []
        and data["tests"] == []
    )


def test_it_can_show_some_runs_only(tmp_path, capsys):
    for sampler in ("rns", "dns"):
        make_run(tmp_path / "runs", sampler=sampler)
    words = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "r.html")]
    assert main.main(["report", "--where", "sampler=dns", *words]) == 0
    assert capsys.readouterr().out.startswith("1 finished runs")
    assert main.main(["report", "--where", "sampler=ahns", *words]) == 2
    assert "no run has it" in capsys.readouterr().err
