"""Compile the suite's compiled functions for a GPU without one.

torch.compile's Triton code is compiled down to sm_90 machine code.

    python scripts/gpu/offline_compile.py

This is for torch 2.11 with Triton, whose internals it patches to believe in an H100. `rehearse.sh`
runs it. Prints a line for each function, and ends with an error where a kernel does not compile.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import contextlib
import importlib.util
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch._functorch.aot_autograd as aot_autograd
import torch._inductor.config as inductor
import torch._inductor.fx_passes.joint_graph as joint_graph
import torch._inductor.fx_passes.post_grad as post_grad
import triton
from torch._dynamo.device_interface import CudaInterface
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.backends.compiler import GPUTarget

from hapens_bench.models.base import _gather_dot, _static_width
from hapens_bench.models.dropout import _mask
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, _draw_everywhere
from hapens_bench.training.adam import _update

TARGET = GPUTarget("cuda", 90, 32)
H100 = types.SimpleNamespace(
    name="H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 << 30,
    warp_size=32,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    regs_per_multiprocessor=65536,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
    L2_cache_size=50 << 20,
    gcnArchName="",
)
BLOCKS = {"XBLOCK": 32, "YBLOCK": 8, "R0_BLOCK": 64}
HEADER = """import triton, triton.language as tl
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
"""


class Generated(Exception):
    """Carries the code of a function out of the compiler."""


class Driver:
    """Answers what Triton asks of a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_current_device(self) -> int:
        return 0


@contextlib.contextmanager
def as_if_there_were_a_gpu() -> Iterator[None]:
    """Patch the calls that ask for a driver, and stop the compiler once the code is there."""

    def stop(self: GraphLowering) -> Any:
        raise Generated(self.codegen()[0].value)

    def nothing(*_: Any, **__: Any) -> None:
        return None

    cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
    }
    cuda |= {
        "get_device_properties": lambda _=None: H100,
        "get_device_capability": lambda _=None: (9, 0),
    }
    cuda |= {
        "_exchange_device": lambda _: -1,
        "_maybe_exchange_device": lambda _: -1,
        "set_device": nothing,
    }
    cuda |= {
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": nothing,
    }
    with contextlib.ExitStack() as stack:
        for name, value in {
            **cuda,
            "_lazy_init": nothing,
            "_get_device_properties": lambda _: H100,
        }.items():
            stack.enter_context(mock.patch(f"torch.cuda.{name}", value, create=True))
        for owner, name, value in (
            (CudaInterface, "is_available", staticmethod(lambda: True)),
            (CudaInterface, "current_device", staticmethod(lambda: 0)),
            (CudaInterface, "get_device_properties", staticmethod(lambda _=None: H100)),
            (CudaInterface, "get_compute_capability", staticmethod(lambda _=None: 90)),
            (CudaInterface.Worker, "get_device_properties", staticmethod(lambda _=None: H100)),
            (aot_autograd, "preserve_rng_state", contextlib.nullcontext),
            (joint_graph, "lazy_init", nothing),
            (post_grad, "lazy_init", nothing),
            (GraphLowering, "compile_to_module", stop),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(mock.patch("torch._subclasses.fake_tensor.init_gpu_context", nothing))
        stack.enter_context(
            inductor.patch(force_disable_caches=True, joint_graph_constant_folding=False)
        )
        yield


def code(function: Callable[..., Any], *args: Any) -> str:
    """Return the program that torch.compile writes for a GPU."""
    torch._dynamo.reset()
    with as_if_there_were_a_gpu():
        try:
            torch.compile(function, dynamic=True)(*args)
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, Generated):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            return str(cause)
    raise AssertionError("nothing was compiled")


def compile_kernels(program: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Compile every Triton kernel of a program; yield its name and its machine code's size."""
    for name, source in re.findall(r"async_compile\.triton\('(\w+)', '''(.*?)'''", program, re.S):
        signature, constants = (
            eval(re.search(rf"'{key}': (\{{.*?\}})", source)[1])
            for key in ("signature", "constants")
        )
        path = folder / f"{name}.py"
        path.write_text(HEADER + source[source.index("@triton.jit") :])
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        blocks = {key: size for key, size in BLOCKS.items() if key in signature}
        signature |= dict.fromkeys(blocks, "constexpr")
        made = triton.compiler.ASTSource(getattr(module, name), signature, constants | blocks)
        yield name, len(triton.compile(made, target=TARGET).asm["cubin"])


def cases() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Yield each compiled function with arguments on a pretended GPU."""
    with FakeTensorMode() as mode:
        pass

    def on_gpu(x: torch.Tensor) -> torch.Tensor:
        with mode:
            return torch.empty(x.shape, dtype=x.dtype, device="cuda")

    pairs = np.argwhere(np.random.default_rng(0).random((60, 45)) < 0.3)
    whole = torch.empty(3, 64, dtype=torch.int64)
    counter = on_gpu(whole[0, 0])
    streams = Streams([1, 2, 3], Purpose.POOL)
    streams.keys = on_gpu(streams.keys)
    for name, budget in (("bitmap", 1 << 20), ("binary search", 0)):
        known = Positives(pairs, 60, 45, bitmap_bytes=budget)
        known.indptr, known.items = on_gpu(known.indptr), on_gpu(known.items)
        known.bitmap = None if known.bitmap is None else on_gpu(known.bitmap)
        for M in (1, 8):
            yield (
                f"candidates, {name}, M = {M}",
                _draw_everywhere,
                (known, on_gpu(whole), M, streams, counter),
            )
    for D in (32, 64):
        tables = [_static_width(on_gpu(torch.empty(3, n, D))) for n in (60, 45)]
        index = on_gpu(torch.empty(3, 64, 8, dtype=torch.int64))
        yield f"scores, D = {D}", _gather_dot, (*tables, on_gpu(whole), index)
    tables = [on_gpu(torch.empty(3, 60, 64)) for _ in range(4)]
    yield "Adam", _update, (*tables, on_gpu(torch.empty(3, 1, 1)), on_gpu(torch.empty(())))
    yield "dropout mask", _mask, (streams, counter, on_gpu(torch.empty(3, 1, 1)), 1000)


def main() -> None:
    triton.runtime.driver.set_active(Driver())
    with tempfile.TemporaryDirectory() as folder:
        for what, function, args in cases():
            kernels = list(compile_kernels(code(function, *args), Path(folder)))
            if not kernels:
                sys.exit(f"{what}: no kernel")
            total = sum(size for _, size in kernels)
            print(f"{what}: {len(kernels)} kernel(s), {total} bytes of sm_90 code", flush=True)


if __name__ == "__main__":
    main()
