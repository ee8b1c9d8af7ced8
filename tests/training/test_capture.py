"""Capturing a step, with stand-ins for CUDA: failures are reported, and nothing is left behind."""

import contextlib
import logging

import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.launch.job import load_split
from hapens_bench.samplers.dns import DNS
from hapens_bench.training import capture, epoch
from hapens_bench.training.stage import Stage
from tests.conftest import make_config

SMALL = ["dataset.users=80", "dataset.items=300", "trainer.batch_size=128", "trainer.epochs=2"]


class FakeGraph:
    """A graph that, like CUDA, complains at the end when the step has failed in between."""

    def __init__(self):
        self.open = False

    def capture_begin(self):
        self.open = True

    def capture_end(self):
        self.open = False
        if self.broken:
            raise RuntimeError("operation failed due to a previous error during capture")

    broken = True

    def replay(self):
        pass


@pytest.fixture
def streams(monkeypatch):
    """The streams as a stack, the current one last."""
    stack = ["default"]

    @contextlib.contextmanager
    def stream(new):
        stack.append(new)
        try:
            yield
        finally:
            stack.pop()

    cuda = {"Stream": lambda device: "side", "stream": stream, "CUDAGraph": FakeGraph}
    cuda |= {"synchronize": lambda device: None, "empty_cache": lambda: None}
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return stack


def failing(error):
    def step():
        raise error

    return step


def test_the_operation_that_failed_is_named_and_the_stream_is_left(streams):
    def step():
        DNS.draw(None, None, None, torch.zeros(1), None)

    with pytest.raises(
        capture.CaptureFailed, match=r"^samplers/dns\.py:\d+, `.+`: AttributeError: "
    ):
        capture.record(step, torch.device("cuda", 1))
    assert streams == ["default"]


def test_the_error_of_the_step_is_reported_not_that_of_closing_the_recording(streams):
    with pytest.raises(capture.CaptureFailed, match="not permitted when stream is capturing"):
        capture.record(
            failing(RuntimeError("operation not permitted when stream is capturing")),
            torch.device("cuda"),
        )
    assert streams == ["default"]


def test_an_error_of_closing_alone_is_reported(streams):
    with pytest.raises(capture.CaptureFailed, match="previous error during capture"):
        capture.record(lambda: None, torch.device("cuda"))


def test_too_little_memory_is_no_failed_capture(streams):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        capture.record(failing(torch.cuda.OutOfMemoryError("full")), torch.device("cuda"))
    assert streams == ["default"]


def test_a_recording_without_kernels_is_refused():
    counter = torch.zeros((), dtype=torch.int64)

    class Counting(FakeGraph):
        def replay(self):
            counter.add_(1)

    capture.check_replay(Counting(), counter)
    with pytest.raises(capture.CaptureFailed, match="holds no kernel"):
        capture.check_replay(FakeGraph(), counter)


@pytest.fixture
def made(tmp_path):
    configs = [
        make_config(*SMALL, "sampler=dns", f"seed={t}", f"paths.cache={tmp_path}") for t in range(2)
    ]
    return configs, load_split(configs[0])


def losses(made):
    configs, split = made
    stage = Stage("full", configs[0], split, torch.device("cpu"))
    stage.engine = Engine.PLAIN
    pack = stage.pack(configs)
    loop = stage.loop(pack)
    return loop, [row["train/loss"] for n in range(2) for row in loop.run(n)]


def test_training_continues_uncaptured_with_the_same_result_and_one_warning(
    made, monkeypatch, caplog
):
    _, expected = losses(made)
    reason = "samplers/dns.py:1, `pick`: RuntimeError: no"

    def record(step, device):
        step()  # a failed recording may have computed something, and left gradients
        raise capture.CaptureFailed(reason)

    monkeypatch.setattr(epoch, "warm_up", lambda step, device: step())
    monkeypatch.setattr(epoch, "record", record)
    init = epoch.EpochLoop.__init__
    monkeypatch.setattr(
        epoch.EpochLoop, "__init__", lambda self, *args: init(self, *args[:-1], Engine.CUDA)
    )
    with caplog.at_level(logging.WARNING):
        loop, uncaptured_losses = losses(made)
    assert loop.graph is None and loop.uncaptured == reason
    assert uncaptured_losses == expected
    assert [r.getMessage() for r in caplog.records if "DNS" in r.getMessage()] == [
        f"a step of DNS is not captured, so training is slower: {reason}"
    ]


def test_a_capture_that_records_nothing_is_refused_and_training_continues(made, monkeypatch):
    monkeypatch.setattr(epoch, "warm_up", lambda step, device: step())
    monkeypatch.setattr(epoch, "record", lambda step, device: FakeGraph())
    _, expected = losses(made)
    init = epoch.EpochLoop.__init__
    monkeypatch.setattr(
        epoch.EpochLoop, "__init__", lambda self, *args: init(self, *args[:-1], Engine.CUDA)
    )
    loop, uncaptured_losses = losses(made)
    assert loop.graph is None and "holds no kernel" in loop.uncaptured
    assert uncaptured_losses == expected
