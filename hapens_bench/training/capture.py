"""One training step as a CUDA graph: recorded once, then replayed at every step."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

WARM_UP = 3  # steps before recording: they compile, and libraries allocate their buffers
PACKAGE = Path(__file__).parents[1]


class CaptureFailed(RuntimeError):
    """A step cannot be recorded; the message names the operation where it is known."""


def warm_up(step: Callable[[], None], device: torch.device) -> None:
    """Take a few steps on a stream of their own, as recording does."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)


def record(step: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Record a step; nothing is computed.

    `torch.cuda.graph` is not used: where an operation fails, it stays on the recording stream, and
    the error that it raises comes from closing the broken recording, not from the operation.

    Raises:
        CaptureFailed: naming the operation. torch.cuda.OutOfMemoryError: when memory is short.
    """
    torch.cuda.synchronize(device)
    gc.collect()
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(torch.cuda.Stream(device)):
        try:
            graph.capture_begin()
            step()
            graph.capture_end()
        except torch.cuda.OutOfMemoryError:
            close(graph)
            raise
        except Exception as error:
            close(graph)
            raise CaptureFailed(describe(error)) from error
    return graph


def close(graph: torch.cuda.CUDAGraph) -> None:
    """End a recording that failed; the error of ending it adds nothing."""
    with contextlib.suppress(Exception):
        graph.capture_end()


def describe(error: Exception) -> str:
    """Return the error's first line, and the innermost line of this package that led to it."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if PACKAGE in Path(f.filename).parents
    ]
    frames = [frame for frame in frames if frame.filename != __file__]
    text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if not frames:
        return text
    last = frames[-1]
    return f"{Path(last.filename).relative_to(PACKAGE)}:{last.lineno}, `{last.line}`: {text}"


def check_replay(graph: torch.cuda.CUDAGraph, counter: Tensor) -> None:
    """Replay a recorded step, the first of an epoch; the step counter must then be 1.

    A recording on a device other than the tensors' holds no kernel, and its replay raises no error.

    Raises:
        CaptureFailed: when the replay changed nothing.
    """
    counter.zero_()
    graph.replay()
    if int(counter) != 1:
        raise CaptureFailed("the recording holds no kernel: a replayed step changed nothing")
