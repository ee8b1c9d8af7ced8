"""The command line as a user types it, each command in its own process."""

import json
from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.cli.main import main
from hapens_bench.cli.train import overrides_first, with_keys_of_swept_groups
from tests.commands import hapens
from tests.tracking.readers import curve, trackio_runs, wandb_synced

TINY = [
    "dataset.users=60",
    "dataset.items=600",
    "trainer.batch_size=128",
    "trainer.epochs=3",
    "trainer.eval_every=1",
]


@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [
        (
            "-m sampler=dns,sdns sampler.M=8 trainer.lr=1",
            "-m sampler=dns,sdns sampler.M=choice(8) trainer.lr=1",
        ),
        (
            "--multirun sampler.M=8,9 model=mf,gmf model.D=8",
            "--multirun sampler.M=8,9 model=mf,gmf model.D=choice(8)",
        ),
        (
            "-m sampler=dns,sdns +sampler.M=8 sampler.q=",
            "-m sampler=dns,sdns +sampler.M=8 sampler.q=",
        ),
        ("-m sampler=dns sampler.M=8 seed=range(2)", "-m sampler=dns sampler.M=8 seed=range(2)"),
        ("sampler=dns,sdns sampler.M=8", "sampler=dns,sdns sampler.M=8"),
        ("-m sampler=dns, sampler.M=8", "-m sampler=dns, sampler.M=8"),
    ],
)
def test_a_key_of_a_group_that_is_swept_is_handed_on_as_a_sweep_over_one_value(typed, handed_on):
    assert with_keys_of_swept_groups(typed.split()) == handed_on.split()


@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [
        ("a=1 -m b=2", "a=1 b=2 -m"),
        ("-m a=1 b=2", "a=1 b=2 -m"),
        ("a=1 --cfg job b=2", "a=1 b=2 --cfg job"),
        ("--config-dir x a=1 -m ~b +c=x", "a=1 ~b +c=x --config-dir x -m"),
        ("--help", "--help"),
    ],
)
def test_overrides_are_handed_on_before_options(typed, handed_on):
    assert overrides_first(typed.split()) == handed_on.split()


def states(folder: Path) -> list[str]:
    return sorted(json.loads(p.read_text())["state"] for p in folder.glob("runs/**/status.json"))


def test_one_run_leaves_the_promised_files(tmp_path):
    done = hapens(tmp_path, "train", *TINY)
    assert done.returncode == 0, done.stderr
    (folder,) = (p.parent for p in tmp_path.glob("runs/planted/mf/rns/*/summary.json"))
    assert {p.name for p in folder.iterdir()} - {".lock"} == {
        "config.yaml",
        "status.json",
        "history.parquet",
        "users.parquet",
        "ranks.parquet",
        "summary.json",
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["run_id"] == folder.name
    assert set(summary["selection"]) == {"test_peak", "valid", "valid_refit"}
    assert "Recall@20" in done.stdout and "valid_refit" in done.stdout


def test_a_sweep_typed_again_runs_only_what_is_missing(tmp_path):
    first = hapens(tmp_path, "train", "-m", *TINY, "sampler=sdns,dns", "seed=0,1", "sampler.M=3")
    assert first.returncode == 0 and "4 jobs: 0 done, 4 to run" in first.stdout, first.stderr
    again = hapens(
        tmp_path, "train", "-m", *TINY, "sampler=sdns,dns,ahns", "seed=0,1", "sampler.M=3"
    )
    assert again.returncode == 0 and "6 jobs: 4 done, 2 to run" in again.stdout, again.stderr
    assert states(tmp_path) == ["done"] * 6
    assert all("  M: 3\n" in path.read_text() for path in tmp_path.glob("runs/**/config.yaml"))


def test_a_failed_trial_takes_nothing_with_it(tmp_path):
    done = hapens(tmp_path, "train", "-m", *TINY, "trainer.lr=1e38,1e-3")
    assert done.returncode == 1
    assert states(tmp_path) == ["done", "failed"]
    assert "1 of 2 jobs are not done" in done.stdout and "trainer.lr=1e+38\n" in done.stdout
    assert "    hapens train dataset.users=60 " in done.stdout
    assert "Traceback" not in done.stderr


def test_the_same_trial_is_trained_and_counted_once_and_a_second_time_already_done(tmp_path):
    typed = [*TINY, "seed=0,0,1", "-m", "trainer.lr=0.001,1e-3"]
    first = hapens(tmp_path, "train", *typed)
    assert first.returncode == 0, first.stderr
    assert "4 of 6 jobs are the same trial as another; each trial is trained" in first.stdout
    assert "2 jobs: 0 done, 2 to run" in first.stdout and "already" not in first.stdout
    rows = [line.split() for line in first.stdout.splitlines() if line.startswith(" rns ")]
    assert len(rows) == 3 and all(row[2] == "2" for row in rows)
    single = hapens(tmp_path, "train", *TINY, "seed=1")
    assert single.returncode == 0 and "already done" in single.stdout
    assert ("the best epoch of a run was its last (not converged)" in first.stdout) == (
        " ! " in first.stdout
    )


def test_the_rerun_command_of_a_failed_job_names_it(tmp_path):
    done = hapens(tmp_path, "train", *TINY, "trainer.lr=1e38")
    assert done.returncode == 1 and "the loss is" in done.stderr and "Traceback" not in done.stderr


def test_a_sweep_tells_two_trackers_everything(tmp_path, monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    trackers = ["logger=[wandb,trackio]", "dataset=planted", "trainer.epochs=3"]
    done = hapens(tmp_path, "train", "-m", *TINY, *trackers, "seed=0,1")
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    in_trackio = trackio_runs(tmp_path / "runs/.trackio", "hapens_bench")
    assert done.stdout.count("trackio show --project hapens_bench") == 1
    folders = [path.parent for path in tmp_path.glob("runs/planted/mf/rns/*/summary.json")]
    assert sorted(in_trackio) == sorted(folder.name for folder in folders) and len(folders) == 2
    for folder in folders:
        history = pd.read_parquet(folder / "history.parquet")
        ours = json.loads((folder / "summary.json").read_text())["selection"]
        (place,) = folder.glob("wandb/offline-run-*")
        in_wandb = wandb_synced(place)
        assert in_wandb["run"]["name"] == folder.name
        assert {row[0]: row[3] for row in in_wandb["table"]["data"]} == {
            k: v["test"]["Recall@20"] for k, v in ours.items()
        }
        for stage, rows in history.groupby("stage"):
            for column in ("train/loss", "hardness/ratio", "hardness/percentile_q90"):
                expected = rows[column].tolist()
                assert (
                    curve(in_trackio[folder.name]["logs"], f"{stage}/{column}") == expected
                    and len(expected) == 3
                )
                assert curve(in_wandb["history"], f"{stage}/{column}") == pytest.approx(
                    expected, rel=1e-12
                )


def test_a_tracker_that_is_not_there_is_warned_of_once_and_costs_nothing_else(tmp_path):
    (tmp_path / "trackio.py").write_text("raise ImportError('no trackio on this machine')")
    done = hapens(tmp_path, "train", "-m", *TINY, "seed=0,1", "logger=trackio")
    assert done.returncode == 0 and states(tmp_path) == ["done"] * 2
    why = "ImportError: no trackio on this machine"
    assert done.stderr.count(f"trackio failed for a run: {why}\n") == 1
    said = f"2 finished runs are not in trackio ({why}); to send: hapens push trackio --runs "
    assert done.stderr.count(said) == 1


def test_resume_force_and_never(tmp_path):
    assert hapens(tmp_path, "train", *TINY).returncode == 0
    (status,) = tmp_path.glob("runs/**/status.json")
    before = status.stat().st_mtime_ns
    assert hapens(tmp_path, "train", *TINY).returncode == 0
    assert status.stat().st_mtime_ns == before
    refused = hapens(tmp_path, "train", *TINY, "resume=never", "trainer.threads=1")
    assert refused.returncode == 0, "a finished run is shown, not touched"
    assert hapens(tmp_path, "train", *TINY, "resume=force").returncode == 0
    assert status.stat().st_mtime_ns > before
    status.write_text(status.read_text().replace("done", "running"))
    begun = hapens(tmp_path, "train", *TINY, "resume=never")
    assert begun.returncode == 2 and "was begun and resume=never" in begun.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sampler=nope"], "there is no sampler 'nope'; choose one of adv_infonce, advir, ahns"),
        (["sampler=dsn"], "worst_case; did you mean dns?"),
        (["sampler=ahns", "sampler.aplha=1"], "sampler=ahns takes M, alpha, beta, p; did you mean"),
        (["sed=1"], "there is no key sed; the config takes archive, dataset, "),
        (["seed=1", "--mutlirun"], "there is no option --mutlirun; see hapens train --help"),
        (["+foo=1"], "there is no key foo; the config takes dataset, protocol, "),
        (["hydra.job.chdir=true", "hydra.run.dir=else"], "hydra.job.chdir is true"),
        (["-m", "hydra.job.chdir=true"], "hydra.job.chdir is true"),
        (["logger=wandb", "logger.wandb.mode=onlin"], "one of online, offline, disabled"),
        (["dataset=nope"], "there is no dataset 'nope'"),
        (["model=[1]"], "Hydra cannot compose this command"),
        (["tuned=[nope]"], "there is no tuned 'nope'; choose one of equal, none, paper"),
        (["sampler=dns", "sampler.foo=1"], "there is no key sampler.foo"),
        (["sampler=dns", "sampler.M=100000"], "sampler.M is 100000, but planted has 2000 items"),
        (["trainer.lr=0"], "trainer.lr is 0, but it takes a number above 0"),
        (["trainer.batch_size=1000000"], "take a smaller batch or trainer.drop_last=false"),
        (["trainer.device=tpu"], "trainer.device is 'tpu'"),
        (["protocol.valid.share=0"], "leaves no validation part"),
        (["dataset=tools"], "HAPENS_MIRROR"),
        (["seed="], "seed"),
        (["trainer..lr=3"], "trainer..lr"),
        (["-m", "sampler=rns,nope"], "there is no sampler 'nope'"),
        (
            ["-m", "sampler=dns,rns", "sampler.M=3"],
            "sampler=rns sampler.M=3: there is no key sampler.M; sampler=rns takes no keys",
        ),
        (["sampler=dns,rns", "-m", "sampler.M=3"], "sampler=rns sampler.M=3: there is no key"),
        (["-m", "trainer.lr=1e-3,-1"], "error: trainer.lr=-1: trainer.lr is -1"),
        (["dataset.users=3", "dataset.items=12"], "dataset"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, arguments, message):
    proxies = {"https_proxy": "http://127.0.0.1:9", "HAPENS_MIRROR": ""}
    done = hapens(tmp_path, "train", *arguments, **proxies)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0], done.stderr
    assert "Traceback" not in done.stderr
    assert states(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel"], "there is no command 'tabel'; choose one of train, data"),
        (["runs", "lst"], "there is no action 'lst'; choose one of list, show"),
        (["table", "ahns_tabel2"], "did you mean ahns_table2?"),
        (["figure", "hardnes"], "did you mean hardness?"),
        (["choose", "tune_anhs", "mine"], "did you mean tune_ahns?"),
        (["data", "stats", "gowala"], "did you mean gowalla?"),
        (["push", "wandb", "--set", "mode=onlin"], "takes one of online, offline, disabled"),
        (["push", "wandb", "--set", "proejct=x"], "did you mean project?"),
        (["push", "wandb", "--set", "project"], "--set takes KEY=VALUE"),
    ],
)
def test_a_typo_is_told_what_it_is_nearest_to(capsys, arguments, message):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and message in told


@pytest.mark.slow
def test_every_sampler_trains_on_the_default_data_as_it_stands(tmp_path):
    done = hapens(tmp_path, "train", "-m", "sampler=glob(*)", "debug=fast")
    assert done.returncode == 0, done.stderr
    samplers = {
        path.parent.parent.name for path in tmp_path.glob("runs/planted/mf/*/*/summary.json")
    }
    assert len(samplers) >= 26


def test_help_and_config_are_shown(tmp_path):
    assert "train" in hapens(tmp_path, "--help").stdout
    shown = hapens(tmp_path, "train", "--cfg", "job", "sampler=ahns").stdout
    assert "hapens_bench.samplers.ahns.AHNS" in shown


def test_other_commands_refuse_in_one_sentence_too(tmp_path):
    for arguments in (
        ["table", "nope"],
        ["table", "ahns_table2"],
        ["data", "stats", "nope"],
        ["data", "fetch", "nope"],
    ):
        done = hapens(tmp_path, *arguments)
        assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1
    assert "gowalla" in hapens(tmp_path, "data", "list").stdout
    assert hapens(tmp_path, "data", "stats", "planted").returncode == 0
