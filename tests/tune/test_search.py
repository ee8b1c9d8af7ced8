"""A search on the planted data: budgets, interruption, seeds, failures, and what is written."""

import shutil

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from rich.console import Console

from hapens_bench.cli import main, train
from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.sweep import on_devices, train_jobs
from hapens_bench.runs.folder import RunFolder
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.tune import loop
from hapens_bench.tune.plan import make_plan

DATA = ["dataset=planted", "dataset.users=80", "dataset.items=300", "trainer.batch_size=128"]
SMALL = [
    *DATA,
    "trainer.epochs=4",
    "trainer.eval_every=1",
    "tune.n_trials=6",
    "tune.batch=2",
    "tune.startup=2",
]
PRUNED = [*SMALL, "sampler=rns,dns", "tune.warmup=1"]


def typed(folder, *overrides):
    return [*overrides, f"paths.runs={folder / 'runs'}", f"paths.cache={folder / 'cache'}"]


def search(folder, *overrides):
    plan = make_plan("ahns", typed(folder, *overrides))
    return plan, loop.search(plan, Console(quiet=True))


def same(one, other):
    columns = ["sampler", "trial", "setting", "value", "epoch", "state", "run_id", "epochs"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *search(folder, *PRUNED)


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A writable copy of conf/."""
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    for module in ("config.compose", "config.paths", "cli.train", "cli.errors", "tune.choose"):
        monkeypatch.setattr(f"hapens_bench.{module}.conf_dir", lambda: conf)
    return conf


def test_every_sampler_gets_its_budget_and_pruned_trials_are_part_of_it(whole):
    _, _, frame = whole
    assert frame.groupby("sampler")["trial"].apply(list).to_dict() == {
        "rns": [*range(6)],
        "dns": [*range(6)],
    }
    states = frame.groupby("sampler")["state"].value_counts().unstack(fill_value=0)
    assert (
        (states["pruned"] > 0).all()
        and (states["complete"] > 2).all()
        and set(states) == {"pruned", "complete"}
    )
    assert (frame.loc[frame["trial"] < 2, "state"] == "complete").all(), (
        "nothing is known before the first batch"
    )
    pruned = frame[frame["state"] == "pruned"]
    assert (pruned["epoch"] >= 1).all() and (pruned["epochs"] == pruned["epoch"] + 1).all()
    assert (frame.loc[frame["state"] == "complete", "epochs"] == 4).all()
    best = frame.groupby("sampler")["value"].transform("max")
    assert (pruned["value"] < best[pruned.index]).all()


def test_a_pruned_run_keeps_its_history_and_says_why(whole):
    folder, _, frame = whole
    for row in frame[frame["state"] == "pruned"].to_dict("records"):
        run = RunFolder(folder / "runs" / "planted" / "mf" / row["sampler"] / row["run_id"])
        status = run.read_status()
        assert (
            status["state"] == "pruned"
            and f"pruned in epoch {row['epoch']:.0f}" in status["reason"]
        )
        assert run.read_frame("history")["valid/Recall@20"].max() == row["value"]
        assert not (run.path / "checkpoint.pt").exists() and not run.is_done()


def test_trials_of_tpe_are_those_of_the_sampler_alone_and_differ_between_seeds(whole, tmp_path):
    _, _, frame = whole
    _, alone = search(tmp_path, *PRUNED, "sampler=dns")
    same(alone, frame[frame["sampler"] == "dns"].reset_index(drop=True))
    _, other = search(tmp_path, *PRUNED, "sampler=dns", "tune.seed=1")
    assert not set(other["setting"]) & set(alone["setting"])


def test_a_search_typed_again_trains_nothing_and_a_larger_budget_goes_on(whole, monkeypatch):
    folder, _, frame = whole
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    monkeypatch.setattr(
        loop, "train_jobs", lambda jobs, *rest: pytest.fail(f"{len(jobs)} jobs would be trained")
    )
    same(search(copy, *PRUNED)[1], frame)
    less = search(copy, *PRUNED, "tune.n_trials=3")[1]
    same(less, frame[frame["trial"] < 3].reset_index(drop=True))
    asked = []
    monkeypatch.setattr(
        loop, "train_jobs", lambda jobs, *rest: (asked.extend(jobs), train_jobs(jobs, *rest))
    )
    more = search(copy, *PRUNED, "tune.n_trials=8")[1]
    same(more[more["trial"] < 6].reset_index(drop=True), frame)
    assert len(asked) == 4


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_search_interrupted_in_the_middle_of_a_batch_ends_alike(
    whole, tmp_path, monkeypatch, kill_at
):
    _, _, frame = whole
    calls = []

    def interrupted(jobs, *rest):
        calls.append(len(jobs))
        if len(calls) == kill_at + 1:
            train_jobs(jobs[: len(jobs) // 2], *rest)
            raise KeyboardInterrupt
        train_jobs(jobs, *rest)

    monkeypatch.setattr(loop, "train_jobs", interrupted)
    arguments = ["tune", "ahns", *typed(tmp_path, *PRUNED), f"tune.out={tmp_path}"]
    assert main.main(arguments) == 130
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("status.json")}
    assert finished
    monkeypatch.setattr(loop, "train_jobs", train_jobs)
    same(search(tmp_path, *PRUNED)[1], frame)
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items()), (
        "finished runs are left alone"
    )


def test_a_trial_interrupted_between_its_epochs_goes_on_from_its_checkpoint(
    whole, tmp_path, monkeypatch, capsys
):
    _, _, frame = whole
    plain, epochs = EpochLoop.run, []

    def interrupted(self, epoch):
        epochs.append(epoch)
        if len(epochs) == 15:
            raise KeyboardInterrupt
        return plain(self, epoch)

    monkeypatch.setattr(EpochLoop, "run", interrupted)
    overrides = [*PRUNED, "trainer.checkpoint_seconds=0"]
    assert main.main(["tune", "ahns", *typed(tmp_path, *overrides), f"tune.out={tmp_path}"]) == 130
    assert epochs[-1] > 0, "the interruption is meant to be in the middle of a trial"
    capsys.readouterr()
    same(search(tmp_path, *overrides)[1], frame)
    assert f"at epoch {epochs[14]}" in capsys.readouterr().err


def test_a_journal_cut_off_anywhere_gives_the_same_trials(whole, tmp_path, capsys):
    folder, plan, frame = whole
    content = plan.journal.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    journal = copy / "runs" / ".tune" / "ahns.journal"
    cuts = np.random.default_rng(0).choice(ends[:-1], 3, replace=False).tolist()
    for cut in [*cuts, cuts[0] + 5, len(content) - 1]:
        journal.write_bytes(content[:cut])
        same(search(copy, *PRUNED)[1], frame)
        assert ("was cut off and is dropped" in capsys.readouterr().err) == (cut not in ends)


def test_a_journal_that_cannot_be_read_or_is_in_use_is_named(tmp_path, capsys):
    journal = tmp_path / "runs" / ".tune" / "ahns.journal"
    journal.parent.mkdir(parents=True)
    arguments = ["tune", "ahns", *typed(tmp_path, *PRUNED), f"tune.out={tmp_path}"]
    for content in (
        "no journal\n",
        '{"op_code": 77}\n',
        '{"op_code": 4, "worker_id": "a", "trial_id": 9}\n[]\n',
    ):
        journal.write_text(content)
        assert main.main(arguments) == 2
        error = capsys.readouterr().err
        assert (
            f"{journal} cannot be read" in error
            and "move it away" in error
            and error.count("\n") == 1
        )
    with FileLock(journal.with_suffix(".lock")):
        assert main.main(arguments) == 2
    assert "another process is tuning with" in capsys.readouterr().err


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


def test_who_is_pruned_does_not_depend_on_packs(whole, tmp_path, monkeypatch):
    _, _, frame = whole
    alone = lambda jobs, carry, console: train_jobs(jobs, on_devices(max_trials=1), console)  # noqa: E731
    monkeypatch.setattr(loop, "train_jobs", alone)
    same(search(tmp_path, *PRUNED)[1], frame)


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
