"""Faults during a sweep of 20 trials.

Run again after each fault, it ends with the metrics of the undisturbed sweep.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hapens_bench.runs.folder import FOUND, RunFolder
from tests.faults.conftest import TRIALS, kill, workers

pytestmark = pytest.mark.faults
KILLS = 25  # of each kind


@contextlib.contextmanager
def small_disk(place: Path, options: str):
    """Mount a file system in memory."""
    place.mkdir(parents=True, exist_ok=True)
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]).returncode
    ):
        pytest.skip("only root can mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_the_launcher_is_killed(calm, sweep, survived):
    chance, begun = random.Random(0), time.monotonic()
    before: dict[str, bytes] = {}
    for _ in range(
        KILLS
    ):  # on average all of them together leave half of the training to the last start
        process = sweep.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, calm.start_up + (calm.whole - calm.start_up) / KILLS))
        kill(process)
        assert before.items() <= sweep.done().items()
        before = sweep.done()
    sweep.finish()
    survived(
        "kill -9 of the launcher and its workers", sweep, KILLS, time.monotonic() - begun, before
    )


def test_workers_are_killed(calm, sweep, survived):
    sweep.more = ["hydra.launcher.devices=[cpu,cpu]"]
    chance, begun = random.Random(1), time.monotonic()
    before: dict[str, bytes] = {}
    kills, process = 0, sweep.start()
    while kills < KILLS:
        time.sleep(chance.uniform(0, calm.start_up))
        if process.poll() is not None:  # what was left of the sweep is done, and told
            process.communicate()
            before = sweep.done()
            for name in chance.sample(
                sorted(before), k=len(before) // 2
            ):  # there must be something left to kill
                (path,) = sweep.runs.glob(f"*/*/*/{name}")
                shutil.rmtree(path)
                del before[name]
            process = sweep.start()
        for worker in workers(process)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                kills += 1
    process.communicate()
    sweep.finish()
    survived("kill -9 of a worker", sweep, KILLS, time.monotonic() - begun, before)


def test_two_launchers_are_started_on_the_same_sweep(sweep, survived):
    begun = time.monotonic()
    both = [sweep.start() for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=600)
        assert process.returncode in (0, 1), said  # 1: some of its trials were the other's
    before = sweep.done()
    assert len(before) == TRIALS
    sweep.finish()
    survived("two launchers on the same sweep", sweep, 1, time.monotonic() - begun, before)


def test_the_disk_is_full(sweep, survived):
    begun = time.monotonic()
    with small_disk(sweep.runs, "size=1600k"):
        process = sweep.start()
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 1 and "No space left on device" in said, said
        before = sweep.done()
        assert 0 < len(before) < TRIALS
        subprocess.run(["mount", "-o", "remount,size=100m", sweep.runs], check=True)
        sweep.finish()
        survived("the disk of the run folders is full", sweep, 1, time.monotonic() - begun, before)


def test_the_cache_cannot_be_written(sweep, survived):
    begun = time.monotonic()
    with small_disk(sweep.place / "cache", "ro,size=1m"):
        sweep.finish()
        survived("the cache is read-only", sweep, 1, time.monotonic() - begun, {})


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def test_bits_flip_in_finished_runs(calm, sweep, survived):
    chance, begun = random.Random(2), time.monotonic()
    shutil.copytree(calm.place, sweep.place, dirs_exist_ok=True)
    folders = sorted(path.parent for path in sweep.runs.glob("*/*/*/*/status.json"))
    hit = [
        (folder, name)
        for folder, name in zip(folders, FOUND * 2, strict=False)
        if (folder / name).exists()
    ]
    for folder, name in hit:
        flip(folder / name, chance)
        assert not RunFolder(folder).is_done()
    before = {
        name: text
        for name, text in sweep.done().items()
        if name not in {folder.name for folder, _ in hit}
    }
    sweep.finish()
    survived("a bit flips in a finished run", sweep, len(hit), time.monotonic() - begun, before)


def test_bits_flip_in_checkpoints_and_in_the_parsed_data(calm, sweep, survived):
    chance, begun = random.Random(3), time.monotonic()
    tried = 0
    while tried < 5:
        process = sweep.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(calm.start_up + 0.5)
        kill(process)
        files = [*sweep.runs.glob("*/*/*/*/checkpoint.pt"), *(sweep.place / "cache").rglob("*.npz")]
        for path in files:
            flip(path, chance)
        tried += len(files)
    before = sweep.done()
    sweep.finish()
    survived(
        "a bit flips in a checkpoint or the cache", sweep, tried, time.monotonic() - begun, before
    )


@pytest.mark.parametrize("year", [1971, 2200])
def test_the_clock_jumps(calm, sweep, survived, year):
    """The clock that stamps files jumps when half of a sweep has been run."""
    begun = time.monotonic()
    shutil.copytree(calm.place, sweep.place, dirs_exist_ok=True)
    folders = sorted(path.parent for path in sweep.runs.glob("*/*/*/*/status.json"))
    for folder in folders[: TRIALS // 2]:
        shutil.rmtree(folder)
    when = (year - 1970) * 365.25 * 86400
    for path in [*sweep.runs.rglob("*"), *(sweep.place / "cache").rglob("*")]:
        os.utime(path, (when, when))
    before = sweep.done()
    assert len(before) == TRIALS // 2
    sweep.finish()
    survived(f"the clock jumps, from {year}", sweep, 1, time.monotonic() - begun, before)


def test_a_trial_diverges_in_its_pack(calm, sweep):
    process = sweep.start("trainer.lr=0.001,0.003,1e30")  # with 1e6 Adam still finds finite numbers
    said, _ = process.communicate(timeout=600)
    assert (
        process.returncode == 1 and "the loss is" in said and "10 of 30 jobs are not done" in said
    ), said
    assert sweep.metrics() == calm.metrics


def test_a_pack_is_too_large_for_the_memory(calm, sweep, survived):
    begun = time.monotonic()
    sweep.environment = {
        "PYTHONPATH": f"{Path(__file__).parent / 'small_memory'}:{Path(__file__).parents[2]}"
    }
    said = sweep.finish()
    assert "a pack of 4 trials broke (OutOfMemoryError" in said
    survived(
        "a pack runs out of memory", sweep, said.count("trials broke"), time.monotonic() - begun, {}
    )


def test_the_trackers_are_down(sweep, survived):
    begun = time.monotonic()
    nowhere = {
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_API_KEY": "0" * 40,
    }
    sweep.environment = nowhere
    said = sweep.finish("logger=wandb", "logger.wandb.mode=online", "seed=range(1)")
    assert "wandb failed and is left out from here on: TimeoutError" in said
    before = sweep.done()
    assert len(before) == 4
    sweep.finish()
    survived("the tracker is down", sweep, 4, time.monotonic() - begun, before)


def test_the_sweep_is_interrupted_from_the_keyboard(sweep, survived):
    begun, process = time.monotonic(), sweep.start()
    while process.poll() is None and not sweep.done():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on from here" in said, said
    before = sweep.done()
    sweep.finish()
    survived("Ctrl-C", sweep, 1, time.monotonic() - begun, before)
