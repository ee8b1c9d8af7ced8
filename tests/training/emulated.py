"""The emulated CUDA device in the place of CUDA: recordings, and the training loop on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from hapens_bench.kernels import Engine
from hapens_bench.training import epoch, pack, stage
from tests.training.emulated_tensor import (
    DEVICE,
    Recording,
    Violation,
    dispatch,
    storages,
    tensors_of,
)

COMPILING = (
    "hapens_bench.models.base",
    "hapens_bench.models.dropout",
    "hapens_bench.samplers.pool",
    "hapens_bench.training.adam",
)


class Tape:
    """A recorded step, replayed into the memory that it first wrote.

    Calls in place are repeated; fresh results are copied to where they first were. As in a CUDA
    graph, memory that the step only reads belongs to others: a replay after it was freed is an
    error.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.borrowed: dict[int, list[torch.Tensor]] = {}  # by address: the tape's own aliases

    def let_go(self) -> None:
        """Hold what the step only read by aliases, which can be counted."""
        own: set[int] = set()

        def alias(x: Any) -> Any:
            if not isinstance(x, torch.Tensor) or x.layout != torch.strided or not x.numel():
                return x
            address = x.untyped_storage().data_ptr()
            if address in own:
                return x
            aliases = self.borrowed.setdefault(address, [])
            aliases.append(x.detach())
            return aliases[-1]

        with torch._C._DisableTorchDispatch():
            for k, (func, args, kwargs, out) in enumerate(self.calls):
                own |= storages(out) - storages((args, kwargs))
                self.calls[k] = (func, *pytree.tree_map(alias, (args, kwargs)), out)

    def check_borrowed(self) -> None:
        """Raise where nothing but the tape holds memory that a replay would read."""
        for aliases in self.borrowed.values():
            if holders(aliases[0]) == holders(torch.zeros(1)) + len(aliases) - 1:
                shape = list(aliases[0].shape)
                raise Violation(f"a replay reads a tensor {shape} that was freed after recording")

    def replay(self) -> None:
        self.check_borrowed()
        with torch.no_grad(), torch._C._DisableTorchDispatch():
            for func, args, kwargs, out in self.calls:
                writes = any(
                    a.alias_info is not None and a.alias_info.is_write
                    for a in func._schema.arguments
                )
                if writes:
                    func(*args, **kwargs)
                    continue
                outs = tensors_of(out)
                if (
                    not outs
                    or all(not x.numel() for x in outs)
                    or storages(out) <= storages((args, kwargs))
                ):
                    continue  # a view, or a sparse matrix of recorded tensors
                for old, new in zip(outs, tensors_of(func(*args, **kwargs)), strict=True):
                    old.copy_(new)


def holders(x: torch.Tensor) -> int:
    """Count the tensors on x's memory, up to a constant."""
    return int(torch._C._storage_Use_Count(x.untyped_storage()._cdata))


class Mode(TorchDispatchMode):
    """Also dispatches calls without a tensor of the device: those that create one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def record(step: Callable[[], None], device: torch.device) -> Tape:
    """Stand in for `capture.record`.

    What it computes on the way is undone by the loop, like its warm-up.
    """
    tape = Tape()
    Recording.tape = tape.calls
    try:
        step()
    finally:
        Recording.tape = None
    tape.let_go()
    return tape


def keep(self: pack.Pack, trials: list[int]) -> None:
    """Stand in for `Pack.keep`: a wrapped tensor has no `data` that could be replaced."""
    index = torch.tensor(trials, dtype=torch.int64).to(DEVICE)
    replaced = {}
    for module in (self.model, self.sampler, self.loss):
        for submodule in module.modules():
            for name, p in list(submodule._parameters.items()):
                if p is not None:
                    replaced[id(p)] = submodule._parameters[name] = torch.nn.Parameter(
                        p.detach()[index].clone()
                    )
            for name, b in list(submodule._buffers.items()):
                submodule._buffers[name] = b[index]
    self.optimizer.params = [replaced[id(p)] for p in self.optimizer.params]
    self.l2 = self.l2[index]
    self.optimizer.keep(index)
    for streams in self.streams:
        streams.keep(index)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Train on the emulated device, without torch.compile.

    What torch.compile makes of the compiled functions is tested elsewhere.
    """
    make, pick = torch.tensor, stage.pick_engine

    def tensor(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        made = make(*args, **kwargs)
        return made.to(device) if device is not None else made

    with pytest.MonkeyPatch.context() as patch:
        for module in COMPILING:
            patch.setattr(f"{module}.compiled", lambda function: function)
        patch.setattr("hapens_bench.models.base._static_width", lambda table: table)
        patch.setattr(epoch, "warm_up", lambda step, device: [step() for _ in range(3)])
        patch.setattr(epoch, "record", record)
        patch.setattr(pack.Pack, "keep", keep)
        patch.setattr(torch, "tensor", tensor)
        patch.setattr(
            stage, "pick_engine", lambda n, d: Engine.CUDA if d.type == DEVICE.type else pick(n, d)
        )
        with Mode():
            yield
