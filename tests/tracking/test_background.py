import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from hapens_bench.cli.main import main
from hapens_bench.launch.job import Job
from hapens_bench.launch.run import begin, make_sinks, run_pack
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking import background
from hapens_bench.tracking.background import trackers_awaited
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.tracking.trackio import TrackioSink
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.tracking.readers import info, trackio_runs


class Noting:
    """Records its calls and their threads; hangs at a call until released, or raises there."""

    made = []

    def __init__(self, hangs_at=None, throws_at=None):
        self.hangs_at, self.throws_at = hangs_at, throws_at
        self.calls, self.threads, self.told, self.go = [], set(), [], threading.Event()
        self.made.append(self)

    def _note(self, name, told=None):
        self.threads.add(threading.current_thread())
        if name == self.hangs_at:
            self.go.wait()
        self.calls.append(name)
        self.told.append(told)
        if name == self.throws_at:
            raise RuntimeError("the disk is full")

    def start(self, run):
        self._note("start", run)

    def log(self, stage, epoch, row):
        self._note(epoch)

    def finish(self, summary):
        self._note("finish")

    def fail(self, reason):
        self._note("fail", reason)


class Missing(Noting):
    """Needs a package that is not installed."""

    def start(self, run):
        import no_such_package  # noqa: F401


def until(happened):
    end = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def clock(monkeypatch):
    """Let a second pass with each look at a worker that is waited for."""
    clock = SimpleNamespace(now=0.0)

    def monotonic():
        clock.now += 1
        return clock.now

    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(background, "POLL_SECONDS", 0.005)
    return clock


class Slow(Noting):
    """Needs 30 s to start."""

    clock = None

    def start(self, run):
        begun = self.clock.now
        while self.clock.now < begun + 30:
            time.sleep(0.001)
        super().start(run)


def sink_of(made, limit=5.0, label="noting"):
    """A sink on a thread that makes what is given."""
    section = {"_target_": f"{__name__}.handed_on", "made": made, "limit": limit}
    return background.limited(label, section)


def handed_on(made):
    return made


def told(seed=0, folder=Path("runs/planted/mf/dns/id")):
    return info(folder, seed)


def finished(sinks, epochs=()):
    """Start, log and finish each sink."""
    for seed, sink in enumerate(sinks):
        sink.start(told(seed))
        for epoch in epochs:
            sink.log("full", epoch, {})
        sink.finish({})


def test_all_calls_are_done_in_their_order_and_only_the_end_waits_for_them():
    slow = Noting()
    note, slow._note = slow._note, lambda *given: (time.sleep(0.01), note(*given))
    with trackers_awaited():
        finished([sink_of(slow)], range(20))
        assert len(slow.calls) < 20, "nothing is waited for"
    assert slow.calls == ["start", *range(20), "finish"]
    assert len(slow.threads) == 1 and threading.current_thread() not in slow.threads


def test_training_goes_on_while_a_tracker_needs_30_seconds_to_start(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(Noting, "made", [])
    monkeypatch.setattr(Slow, "clock", clock)
    pack = jobs(tmp_path, ("Slow", {}))
    with trackers_awaited():
        for job in pack:
            run_pack([job], torch.device("cpu"))
            assert job.state == "done"
        assert all(not sink.calls for sink in Noting.made) and clock.now < 30
    assert 60 < clock.now < 120
    for sink, job in zip(Noting.made, pack, strict=True):
        history = job.folder.read_frame("history")
        assert sink.calls == ["start", *history["epoch"], "finish"], "no row is lost"


@pytest.mark.parametrize("at", ["start", 0, "finish"])
def test_a_tracker_that_hangs_is_waited_for_once_and_what_it_lacks_is_said(at, clock, capsys):
    made = [Noting(hangs_at=at) for _ in range(5)]
    with trackers_awaited():
        finished([sink_of(sink, limit=20) for sink in made], range(2))
    assert 20 < clock.now < 30
    assert capsys.readouterr().err.split("  ", 1)[1] == (
        "5 finished runs are not in noting (no answer within 20 s)\n"
    )
    with trackers_awaited():
        finished([sink_of(Noting(), limit=20)])
    assert clock.now < 40, "it has not answered since, so it is not waited for again"
    assert "1 finished run is not in noting" in capsys.readouterr().err
    for sink in made:
        sink.go.set()
    until(lambda: all("finish" in sink.calls for sink in made))
    with trackers_awaited():
        last = Noting()
        finished([sink_of(last, limit=20)])
    assert last.calls == ["start", "finish"] and not capsys.readouterr().err, "it answers again"


def test_a_tracker_that_is_slow_but_answers_is_waited_for_to_the_end(clock, monkeypatch):
    monkeypatch.setattr(Slow, "clock", clock)
    made = [Slow() for _ in range(5)]
    with trackers_awaited():
        finished([sink_of(sink, limit=40) for sink in made])
    assert clock.now > 150 and all(sink.calls == ["start", "finish"] for sink in made)


def test_a_process_that_is_interrupted_waits_shortly(clock):
    with pytest.raises(KeyboardInterrupt), trackers_awaited():
        sink_of(Noting(hangs_at="start"), limit=60).start(told())
        raise KeyboardInterrupt
    assert clock.now < 10


def test_a_tracker_that_throws_is_closed_once_and_costs_a_warning_and_a_line(caplog, capsys):
    bad, good = Noting(throws_at=0), Noting()
    with trackers_awaited():
        finished([sink_of(bad), sink_of(good)], range(3))
    assert bad.calls == ["start", 0, "fail"] and good.calls == ["start", 0, 1, 2, "finish"]
    assert caplog.messages == ["noting failed for a run: RuntimeError: the disk is full"]
    assert "1 finished run is not in noting (RuntimeError: the disk" in capsys.readouterr().err


def test_a_run_that_failed_is_told_so_and_is_not_missed(capsys):
    sink = Noting()
    with trackers_awaited():
        limited = sink_of(sink)
        limited.start(told())
        limited.fail("the loss is nan")
        limited.fail("twice")
    assert sink.calls == ["start", "fail"] and not capsys.readouterr().err


def test_trackers_that_are_not_installed_cost_a_warning_and_a_line_each(
    caplog, capsys, tmp_path, monkeypatch, trackio_folder
):
    for package in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it fails now
    config = make_config("logger=[wandb,trackio]", f"paths.runs={tmp_path}")
    with trackers_awaited():
        for seed in range(3):
            sinks = SafeSinks(make_sinks(config))
            sinks.start(info(tmp_path, seed))
            sinks.finish({})
    assert sorted(text.split()[0] for text in caplog.messages) == ["trackio", "wandb"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("3 finished runs are not in" in line for line in lines)


def test_what_a_tracker_has_lost_is_sent_by_the_line_that_is_printed(
    tmp_path, capsys, monkeypatch, trackio_folder
):
    start = TrackioSink.start

    def broken(self, run):
        if run.config["seed"] != 1:
            raise OSError("no space left on device")
        start(self, run)

    project = "it's mine"
    runs = tmp_path / "my runs"
    overrides = [f"paths.runs='{runs}'", "logger=trackio", r"logger.trackio.project='it\'s mine'"]
    pack = [
        Job(make_config(*SMALL, *overrides, f"seed={seed}", "logger.trackio.limit=30"), [])
        for seed in range(3)
    ]
    with monkeypatch.context() as patch, trackers_awaited():
        patch.setattr(TrackioSink, "start", broken)
        run_pack(pack, torch.device("cpu"))
        for worker in background.WORKERS.values():
            assert worker.wait(60)
    said = capsys.readouterr().err
    (line,) = re.findall(r"2 finished runs are not in trackio .*; to send: (hapens push .*)", said)
    assert set(trackio_runs(trackio_folder, project)) == {pack[1].folder.path.name}
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out.endswith("2 pushed\n")
    found = trackio_runs(trackio_folder, project)
    assert set(found) == {job.folder.path.name for job in pack}
    assert {run["name"] for run in found.values()} == {f"planted-mf-rns-s{k}" for k in range(3)}


def test_a_tracker_that_hangs_cannot_hold_the_process_at_its_exit(tmp_path):
    code = (
        "from tests.tracking.test_background import Noting, finished, sink_of, trackers_awaited\n"
        "with trackers_awaited():\n    finished([sink_of(Noting(hangs_at='start'), limit=0.1)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "no answer within 0.1 s" in done.stderr, done.stderr


SMALL = ["dataset.users=60", "dataset.items=600", "trainer.batch_size=128", "trainer.epochs=3"]


def jobs(folder, *loggers):
    folders = []
    for seed in (0, 1):
        config = make_config(*SMALL, f"seed={seed}", f"paths.runs={folder / 'runs'}")
        here = f"{__name__}."
        config["logger"] = {
            str(k): {"_target_": here + name, **given} for k, (name, given) in enumerate(loggers)
        }
        folders.append(Job(config, []))
    return folders


@pytest.mark.parametrize(
    "logger",
    [
        ("Noting", {"hangs_at": "start"}),
        ("Noting", {"hangs_at": 1}),
        ("Noting", {"hangs_at": "finish"}),
        ("Noting", {"throws_at": 0}),
        ("Missing", {}),
        ("NotThere", {}),
    ],
    ids=str,
)
def test_the_files_of_a_run_are_the_same_whatever_its_tracker_does(
    tmp_path, monkeypatch, caplog, capsys, logger
):
    monkeypatch.setattr(background, "LIMIT", 0.5)
    monkeypatch.setattr(Noting, "made", [])
    with_tracker, without = jobs(tmp_path / "with", logger), jobs(tmp_path / "without")
    for pack in (with_tracker, without):
        with trackers_awaited():
            run_pack(pack, torch.device("cpu"))
    for sink in Noting.made:
        sink.go.set()
    assert len(caplog.messages) == ("hangs_at" not in logger[1])
    assert "finished runs are not in 0 (" in capsys.readouterr().err
    for one, other in zip(with_tracker, without, strict=True):
        assert one.state == other.state == "done"
        names = [sorted(path.name for path in job.folder.path.iterdir()) for job in (one, other)]
        assert names[0] == names[1]
        assert one.folder.read_summary()["selection"] == other.folder.read_summary()["selection"]
        histories = [
            job.folder.read_frame("history").drop(columns="seconds") for job in (one, other)
        ]
        pd.testing.assert_frame_equal(*histories)
        pd.testing.assert_frame_equal(
            one.folder.read_frame("users"), other.folder.read_frame("users")
        )


def test_a_run_that_goes_on_tells_its_trackers_what_the_checkpoint_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(Noting, "made", [])
    (job, _) = jobs(tmp_path, ("Noting", {}))
    before = Trial(job.config, RunFolder(job.folder.path), SafeSinks([]))
    before.progress.rows = [{"stage": "held", "epoch": 0, "train/loss": 0.5}]
    before.save(None)
    with trackers_awaited():
        begin(job.config, job.folder, own_console=False)
    (told,) = Noting.made[0].told
    assert told.run_id == job.folder.path.name and list(told.rows) == before.progress.rows
