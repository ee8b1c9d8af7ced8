import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.tables.crosstab import Layout, crosstab
from hapens_bench.cli import main
from hapens_bench.errors import UserError
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load


@pytest.fixture
def runs(tmp_path):
    """Two data sets, two samplers, three seeds; dns's best on validation is worse on test."""

    def add(dataset, sampler, setting, level, validation, data_hash="h"):
        for seed in range(3):
            folder = RunFolder(tmp_path / "runs" / dataset / "mf" / sampler / f"{setting}{seed}")
            users = level + np.random.default_rng(seed).normal(0, 0.01, 80)
            test = {"Recall@20": float(users.mean()), "NDCG_@20": 0.5 * level}
            summary = {
                "run_id": folder.path.name,
                "config_id": setting,
                "split_id": "s",
                "dataset": dataset,
                "seed": seed,
            }
            summary |= {
                "protocol": "ahns",
                "model": "mf",
                "sampler": sampler,
                "data_hash": data_hash,
                "git_sha": "g",
            }
            report = {"epoch": 5, "converged": sampler != "rns", "test": test}
            folder.write_summary(
                summary
                | {"validation": validation, "selection": {"valid": report, "test_peak": report}}
            )
            frame = pd.DataFrame({"user": range(80), "Recall@20": users, "NDCG_@20": 0.5 * level})
            folder.write_users(
                pd.concat([frame.assign(selection=name) for name in ("valid", "test_peak")])
            )
            folder.write_status("done")

    for dataset in ("tools", "phones"):
        add(dataset, "rns", "a", 0.05, None)
        add(dataset, "dns", "b", 0.07, 0.02)
        add(dataset, "dns", "c", 0.06, 0.03)
    return tmp_path / "runs", add


def test_settings_are_chosen_on_validation_and_never_by_test(runs):
    found = crosstab(
        Layout("sampler", ["dataset", "metric"], ["valid"], ["Recall@20"]), load(runs[0]).runs
    )
    assert found.header == ["sampler", "phones Recall@20", "tools Recall@20"]
    assert set(found.long.query("sampler == 'dns'")["config_id"]) == {"c"}
    assert found.long.query("sampler == 'dns'")["mean"].tolist() == pytest.approx(
        [6.0, 6.0], abs=0.2
    )
    dns, rns, gain = found.lines
    assert dns[0] == "dns" and dns[1].place == 1 and rns[1].place == 2
    assert rns[1].text.endswith(" !") and not dns[1].text.endswith("!")
    assert gain[0] == "best against second" and float(gain[1].split()[0]) == pytest.approx(
        20, abs=3
    )


def test_without_validation_values_nothing_is_chosen(runs):
    folder, add = runs
    add("tools", "rns", "d", 0.08, None)
    with pytest.raises(
        UserError, match=r"tools rns was run in 2 settings, and without a validation value"
    ):
        crosstab(Layout("sampler", ["dataset"], ["valid"], []), load(folder).runs)


def test_different_data_are_not_put_into_one_cell(runs):
    folder, add = runs
    add("tools", "rns", "e", 0.05, 0.1, data_hash="other")
    with pytest.raises(UserError, match="different data or splits"):
        crosstab(Layout("sampler", ["dataset"], ["valid"], []), load(folder).runs)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout("seed", ["dataset"], ["valid"], []), "--rows is 'seed'"),
        (Layout("sampler", ["sampler"], ["valid"], []), "--cols is 'sampler'"),
        (Layout("sampler", ["metric", "metric"], ["valid"], []), "each once"),
        (
            Layout("sampler", ["dataset"], ["valid_refit"], []),
            "no finished run reports valid_refit",
        ),
        (
            Layout("sampler", ["dataset"], ["valid"], ["Recall@7"]),
            "no finished run reports valid of Recall@7",
        ),
    ],
)
def test_what_cannot_be_shown_is_told(runs, layout, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        crosstab(layout, load(runs[0]).runs)


def test_files_of_the_command(runs, tmp_path, capsys):
    arguments = [
        "table",
        "--rows",
        "sampler",
        "--cols",
        "metric,dataset",
        "--selection",
        "valid,test_peak",
    ]
    assert main.main([*arguments, "--runs", str(runs[0]), "--out", str(tmp_path / "out")]) == 0
    assert "best against" in capsys.readouterr().out
    stem = tmp_path / "out" / "sampler_by_metric_dataset"
    long = pd.read_csv(stem.with_suffix(".csv"))
    assert len(long) == 2 * 2 * 2 * 2 and set(long["n"]) == {3}
    header = stem.with_suffix(".md").read_text().splitlines()[2].split(" | ")
    assert header[1:3] == ["Recall@20 phones valid", "Recall@20 phones test_peak"]
    assert json.loads(stem.with_suffix(".provenance.json").read_text())["seeds"] == [0, 1, 2]
    assert (
        main.main(["table"]) == 2 and main.main(["table", "ahns_table2", "--rows", "sampler"]) == 2
    )
    assert main.main(["table", "--rows", "sampler", "--activity", "--runs", str(runs[0])]) == 2


@pytest.mark.slow
def test_the_latex_compiles(runs, tmp_path):
    tex = shutil.which("pdflatex") or pytest.skip(
        "pdflatex is not installed: apt-get install texlive-latex-recommended"
    )
    assert (
        main.main(
            [
                "table",
                "--rows",
                "sampler",
                "--runs",
                str(runs[0]),
                "--selection",
                "valid",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    body = (tmp_path / "sampler_by_dataset_metric.tex").read_text()
    page = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + body
        + "\\end{document}\n"
    )
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(
        [tex, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and (tmp_path / "page.pdf").exists(), done.stdout[-2000:]
