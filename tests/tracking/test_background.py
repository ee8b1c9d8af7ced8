import subprocess
import sys
import threading
import time
from functools import partial

import pandas as pd
import pytest
import torch

from hapens_bench.launch.job import Job
from hapens_bench.launch.run import begin, make_sinks, run_pack
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking import background
from hapens_bench.tracking.background import LimitedSink, Worker
from hapens_bench.tracking.sink import SafeSinks
from hapens_bench.training.trial import Trial
from tests.conftest import make_config
from tests.tracking.readers import info


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


def test_the_end_of_a_run_waits_until_all_calls_were_done_in_their_order():
    slow = Noting()
    note, slow._note = slow._note, lambda *given: (time.sleep(0.01), note(*given))
    sink = LimitedSink("noting", lambda: slow, Worker(5))
    sink.start(None)
    for epoch in range(20):
        sink.log("full", epoch, {})
    assert len(slow.calls) < 20, "a log is not waited for"
    sink.finish({})
    assert slow.calls == ["start", *range(20), "finish"]
    assert len(slow.threads) == 1 and threading.current_thread() not in slow.threads


def test_a_log_that_hangs_does_not_hold_training_and_costs_one_warning(caplog):
    hanging, good = Noting(hangs_at=0), Noting()
    sinks = SafeSinks(
        [
            LimitedSink("noting", lambda: hanging, Worker(0.1)),
            LimitedSink("noting", lambda: good, Worker(5)),
        ]
    )
    sinks.start(None)
    begun = time.monotonic()
    sinks.log("full", 0, {})
    time.sleep(0.2)
    for epoch in (1, 2):
        sinks.log("full", epoch, {})
    sinks.finish({})
    assert time.monotonic() - begun < 5
    assert caplog.messages == [
        "noting failed and is left out from here on: TimeoutError: no answer within 0.1 s"
    ]
    assert good.calls == ["start", 0, 1, 2, "finish"]
    hanging.go.set()
    until(lambda: "fail" in hanging.calls)
    assert hanging.calls == ["start", 0, "fail"], (
        "it is closed when it answers again, and told nothing more"
    )


@pytest.mark.parametrize("at", ["start", "finish"])
def test_a_tracker_that_hangs_at_start_or_finish_is_waited_for_once_for_all_trials(caplog, at):
    worker, trials = Worker(0.6), []
    for _ in range(5):
        sink = Noting(hangs_at=at)
        trials.append(
            (sink, SafeSinks([LimitedSink("noting", partial(lambda one: one, sink), worker)]))
        )
    begun = time.monotonic()
    for _, sinks in trials:
        sinks.start(None)
    for _, sinks in trials:
        sinks.finish({})
    assert 0.6 <= time.monotonic() - begun < 5 * 0.6
    assert len(caplog.messages) == 1
    for sink, _ in trials:
        sink.go.set()
    # should it answer again, what was begun is ended, and nothing more is begun
    ends = {"start": [["start", "fail"]] + [[]] * 4, "finish": [["start", "finish"]] * 5}[at]
    until(lambda: [sink.calls for sink, _ in trials] == ends)


def test_a_tracker_that_is_not_installed_costs_one_warning(
    caplog, tmp_path, monkeypatch, trackio_folder
):
    for package in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it fails now
    config = make_config("logger=[wandb,trackio]", f"paths.runs={tmp_path}")
    for seed in range(3):
        sinks = SafeSinks(make_sinks(config))
        sinks.start(info(tmp_path, seed))
        sinks.finish({})
        assert not sinks.sinks
    assert [text.split(":")[0].split()[0] for text in caplog.messages] == ["wandb", "trackio"]
    assert all("import" in text for text in caplog.messages)


def test_a_tracker_that_hangs_cannot_hold_the_process_at_its_exit(tmp_path):
    code = (
        "import threading; from hapens_bench.tracking.background import LimitedSink, Worker\n"
        "from tests.tracking.test_background import Noting\n"
        "sink = LimitedSink('noting', lambda: Noting(hangs_at='start'), Worker(0.1))\n"
        "try:\n    sink.start(None)\n"
        "except TimeoutError:\n    print('given up')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "given up\n", done.stderr


def jobs(folder, *loggers):
    overrides = [
        "dataset.users=60",
        "dataset.items=600",
        "trainer.batch_size=128",
        "trainer.epochs=3",
    ]
    folders = []
    for seed in (0, 1):
        config = make_config(*overrides, f"seed={seed}", f"paths.runs={folder / 'runs'}")
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
    tmp_path, monkeypatch, caplog, logger
):
    monkeypatch.setattr(background, "LIMIT", 1)
    monkeypatch.setattr(Noting, "made", [])
    with_tracker, without = jobs(tmp_path / "with", logger), jobs(tmp_path / "without")
    for pack in (with_tracker, without):
        run_pack(pack, torch.device("cpu"))
    for sink in Noting.made:
        sink.go.set()
    assert len(caplog.messages) == 1
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
    begin(job.config, job.folder, single=False, alone=False)
    (told,) = Noting.made[0].told
    assert told.run_id == job.folder.path.name and list(told.rows) == before.progress.rows
