"""What a sweep shows while it trains: a board on a terminal, lines with time stamps in a file."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from rich.console import Console

from hapens_bench.tracking import board as boards
from hapens_bench.tracking.board import Board
from hapens_bench.tracking.display import best_text, picture, shown
from hapens_bench.tracking.news import Began, Ended, Epoch, Step
from tests.conftest import make_config

STAMP = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
SWEEP = [
    *("dataset.users=80", "dataset.items=300", "trainer.batch_size=128", "trainer.eval_every=2"),
    *("trainer.threads=1", "tuned=none", "sampler=rns,dns", "seed=0,1"),
]


def configs():
    keys = {"id": "a", "keys": ["sampler.M"]}
    made = {f"r{k}": make_config("sampler=rns", f"seed={k}") for k in (0, 1)}
    made |= {f"d{k}": make_config("sampler=dns", f"sampler.M={k}") for k in (2, 4)}
    return {name: {**config, "sweep": keys} for name, config in made.items()}


def epoch(valid, *runs, part=0.25, number=4):
    steps = [Step(run, part, 0.5 - k / 10, valid and valid + k, None) for k, run in enumerate(runs)]
    return Epoch("held", number, 20, valid is not None, tuple(steps))


def drawn(board):
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(picture(board))
    return captured.get()


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(boards, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_board_counts_trials_and_has_the_best_validation_value_of_each_sampler(clock):
    board = Board(configs())
    assert board.summary() == "0 of 4 done, 4 left" and board.seconds_left() is None
    board.take(Began({"d2": (0.0, None), "d4": (0.0, None)}))
    clock[0] += 60
    board.take(epoch(0.1, "d2", "d4"))
    board.take(epoch(None, "d2", "d4", number=5))
    text = drawn(board)
    assert "0 of 4 done, 2 running, 2 left, about 7 min to go, 60 s so far" in text
    assert "planted-mf-dns x 2 held epoch 5 of 20  loss 0.4000..0.5000\n" in text
    assert re.search(r"planted-mf-rns +0 +0 +2 *\n", text)
    assert re.search(r"planted-mf-dns +0 +2 +0  Recall@20 1.1000  planted-mf-dns-M4-s0 *\n", text)
    over = board.take(Ended(("d4",), "done"))
    assert [run.name for run in over] == ["planted-mf-dns-M4-s0"]
    assert not board.take(Ended(("d4",), "failed", "told twice")), "the first word counts"
    board.take(epoch(0.3, "d2"))
    assert "planted-mf-dns-M2-s0 held epoch 4" in drawn(board)
    board.take(Ended(("d2",), "pruned", "it was bad"))
    assert "epoch" not in drawn(board), "no pack is training"
    assert board.summary().startswith("1 of 4 done, 2 left, 1 pruned, about ")


def test_a_trial_that_goes_on_from_a_checkpoint_does_not_shorten_the_time_to_go(clock):
    board = Board(configs())
    board.take(Began({"r0": (0.5, 0.7)}))
    clock[0] += 10
    board.take(epoch(0.1, "r0", part=0.6))
    assert board.seconds_left() == pytest.approx(10 * 3.4 / 0.1)
    assert "Recall@20 0.7000 planted-mf-rns-s0" in best_text(board)


def test_two_packs_that_train_at_once_have_a_line_each():
    board = Board(configs())
    board.take(Began({name: (0.0, None) for name in configs()}))
    board.take(epoch(None, "r0", "r1", number=3))
    board.take(epoch(None, "d2", "d4", number=7))
    board.take(epoch(None, "r1", number=4))
    text = drawn(board)
    assert "planted-mf-rns-s1 held epoch 4" in text and "dns x 2 held epoch 7" in text
    assert "epoch 3" not in text


def test_news_may_come_while_the_board_is_drawn():
    board, stop = Board(configs()), threading.Event()

    def train():
        while not stop.is_set():
            for name in configs_by_name:
                board.take(Began({name: (0.0, None)}))
                board.take(epoch(0.1, name))
                board.take(Ended((name,), "done"))

    configs_by_name = list(board.runs)
    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(30):
            drawn(board)
    finally:
        stop.set()
        thread.join()


def test_in_a_log_file_evaluations_failures_and_the_best_values_are_lines(capsys):
    with shown(configs()) as tell:
        tell(Began({"r0": (0.0, None), "r1": (0.0, None)}))
        tell(epoch(None, "r0", "r1"))
        tell(epoch(0.25, "r0", "r1"))
        tell(Ended(("r0",), "failed", "the loss is [nan]"))
        tell(Ended(("r1",), "done"))
        tell(Ended(("d2", "d4"), "interrupted", "interrupted"))
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    lines = [re.sub(STAMP + r"|, about .*? to go", "", line) for line in lines]
    best = "; best on validation: Recall@20 1.2500 planted-mf-rns-s1"
    assert lines == [
        "planted-mf-rns x 2 held epoch 4 of 20  loss 0.4000..0.5000  "
        "valid/Recall@20 0.2500..1.2500  (0 of 4 done, 2 running, 2 left)",
        "planted-mf-rns-s0 stopped: the loss is [nan]",
        f"1 of 4 done, 2 left, 1 failed{best}",
        "planted-mf-dns x 2 stopped: interrupted",
        f"1 of 4 done, 1 failed, 2 interrupted{best}",
    ]


def command(tmp_path, *overrides):
    variables = {**os.environ, "HAPENS_CACHE": str(tmp_path / "cache"), "TERM": "xterm"}
    variables |= {"COLUMNS": "120", "LINES": "40"}
    words = [sys.executable, "-m", "hapens_bench.cli", "train", "-m", *SWEEP, *overrides]
    return words, {"cwd": tmp_path, "env": variables}


def on_a_terminal(tmp_path, *overrides, ask=None):
    """Run a sweep on a terminal; return all that it wrote there, and its exit code.

    `ask` is a signal to send once a pack is training.
    """
    ours, theirs = pty.openpty()
    words, options = command(tmp_path, *overrides)
    # A shell's background job ignores SIGINT, and so would what it starts.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(words, **ends, preexec_fn=heed, **options)
    os.close(theirs)
    written, end = "", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ours], [], [], 1.0)[0]:
            try:
                written += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        if ask is not None and " held epoch " in written:
            process.send_signal(ask)
            ask = None
    os.close(ours)
    return written, process.wait(30)


def test_a_sweep_on_a_terminal_has_a_board_that_is_gone_at_the_end(tmp_path):
    written, code = on_a_terminal(tmp_path, "trainer.epochs=40")
    assert code == 0, written
    assert " running, " in written and "so far" in written and "best on validation" in written
    assert "\x1b[?25l" in written and written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), (
        "the cursor is back"
    )
    assert not re.search(STAMP, written, re.MULTILINE)
    after = written[written.rindex("\x1b[?25h") :]
    assert "mean ± standard deviation" in after and "so far" not in after


@pytest.mark.parametrize(
    ("number", "code", "devices"),
    [
        (signal.SIGINT, 130, "[cpu]"),
        (signal.SIGTERM, 75, "[cpu]"),
        pytest.param(signal.SIGTERM, 75, "[cpu,cpu]", marks=pytest.mark.slow),
    ],
)
def test_a_board_that_is_interrupted_leaves_the_terminal_clean(tmp_path, number, code, devices):
    written, ended = on_a_terminal(
        tmp_path,
        *("trainer.epochs=5000", "trainer.patience=null", f"hydra.launcher.devices={devices}"),
        ask=number,
    )
    assert ended == code, written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "stopped: interrupted" in written and "the same command goes on from here" in written
    assert "Traceback" not in written


@pytest.mark.parametrize("devices", ["[cpu]", pytest.param("[cpu,cpu]", marks=pytest.mark.slow)])
def test_a_sweep_into_a_file_writes_lines_with_time_stamps(tmp_path, devices):
    words, options = command(
        tmp_path,
        "trainer.epochs=4",
        "sampler.M=choice(3)",
        "sampler=dns,sdns",
        f"hydra.launcher.devices={devices}",
    )
    options["env"]["FORCE_COLOR"] = "1"  # as on build servers, whose logs are files
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines and all(re.match(STAMP, line) for line in lines) and "\x1b" not in done.stderr
    assert any(re.search(r"planted-mf-dns.* held epoch 2 of 4  loss .*valid/", x) for x in lines)
    assert re.search(r"4 of 4 done; best on validation: .*dns-s\d.*sdns-s\d", lines[-1])
