"""SIGTERM takes effect at once where nothing is lost, otherwise between two steps."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hydra.core.utils import JobStatus

from hapens_bench.termination import REQUEUE, Terminated, check, deferred, listening
from tests.launch.test_launchers import SETTING, killer
from tests.launch.test_pack import assert_equal, sweep


def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def test_a_request_is_heard_at_once_or_at_the_end_of_what_holds_it():
    before, steps = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(Terminated) as caught, listening():
        ask()
    assert caught.value.code == REQUEUE == 75 and caught.value.signals == {signal.SIGTERM}
    with pytest.raises(Terminated), listening(), deferred():
        ask()
        steps.append("goes on")
        ask()
    with pytest.raises(Terminated) as caught, listening(signal.SIGUSR2), deferred():
        ask(signal.SIGUSR2)
        steps.append("goes on")
        check()
        steps.append("never")
    assert caught.value.signals == {signal.SIGUSR2} and steps == ["goes on"] * 2
    assert signal.getsignal(signal.SIGTERM) is before
    check()


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_a_pack_that_is_terminated_goes_on_from_its_last_epoch_to_the_same_bits(tmp_path, epoch):
    variants = [["sampler=dns"]] * 3
    _, whole = sweep(tmp_path / "whole", variants, *SETTING)
    asked = killer(tmp_path / "once", epoch, 1, signal.SIGTERM)
    with pytest.raises(Terminated):
        sweep(tmp_path / "cut", variants, *SETTING, *asked, "trainer.checkpoint_seconds=1000")
    returns, jobs = sweep(tmp_path / "cut", variants, *SETTING)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 3
    assert_equal(jobs, whole)


def test_what_was_interrupted_says_so_and_has_a_checkpoint_of_the_epoch_before(tmp_path):
    asked = killer(tmp_path / "once", 3, 0, signal.SIGTERM)
    with pytest.raises(Terminated):
        sweep(tmp_path, [[]], *SETTING, *asked, "trainer.checkpoint_seconds=1000")
    (path,) = tmp_path.glob("runs/planted/mf/rns/*/status.json")
    assert '"reason": "interrupted"' in path.read_text()
    assert (path.parent / "checkpoint.pt").exists() and not (path.parent / ".lease").exists()
    (_,), (job,) = sweep(tmp_path, [[]], *SETTING)
    assert job.folder.read_frame("history").query("stage == 'held'")["epoch"].tolist() == list(
        range(6)
    )


@pytest.mark.faults
@pytest.mark.parametrize("devices", ["[cpu]", "[cpu,cpu]"])
def test_after_sigterm_checkpoints_are_written_in_ten_seconds_and_the_code_is_75(tmp_path, devices):
    many = [
        "sampler=rns,dns",
        "dataset.users=4000",
        "dataset.items=6000",
        "trainer.epochs=2000",
        "trainer.patience=null",
    ]
    more = [
        "trainer.checkpoint_seconds=1000",
        "tuned=none",
        f"paths.runs={tmp_path / 'runs'}",
        "trainer.threads=1",
    ]
    command = [
        sys.executable,
        "-m",
        "hapens_bench",
        "-m",
        *many,
        *more,
        f"hydra.launcher.devices={devices}",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    begun = set()
    for line in process.stderr:
        begun |= {name for name in ("rns", "dns") if f"mf-{name}" in line and "epoch 5 " in line}
        if len(begun) == devices.count("cpu"):
            break
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    stopped = set()
    for line in process.stderr:
        stopped |= {
            name for name in begun if f"mf-{name}" in line and "stopped: interrupted" in line
        }
        if stopped == begun:
            break
    assert stopped == begun and time.monotonic() - asked < 10
    assert len(list(tmp_path.glob("runs/planted/mf/*/*/checkpoint.pt"))) == devices.count("cpu")
    errors = process.stderr.read()
    assert process.wait(120) == 75 and "the same command goes on from here" in errors
