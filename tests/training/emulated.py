"""An emulated CUDA device: tensors that hold CPU data, claim another device and obey CUDA's rules.

- Mixing with CPU tensors of one axis or more is an error, and so is a CPU index.
- Host syncs (`.item()`, `nonzero`, masks, copies between devices) are errors while a step is
  recorded.
- A recording is a tape of aten calls, replayed into the memory they first wrote: a Python value
  that was read while
  recording stays what it was, as in a CUDA graph.

`installed()` puts it in the place of CUDA for the training loop: device `DEVICE`, engine
`Engine.CUDA`.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from hapens_bench.kernels import Engine
from hapens_bench.training import epoch, pack, stage

DEVICE = torch.device("meta")  # a type of device that the tests have no other use for
COMPILING = (
    "hapens_bench.models.base",
    "hapens_bench.models.dropout",
    "hapens_bench.samplers.pool",
)
aten = torch.ops.aten
SYNCS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.unique_consecutive.default,
    aten.allclose.default,
}
INDEXING = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
}
ONE_DEVICE = {
    aten.index_select.default,
    aten.gather.default,
    aten.mm.default,
    aten.scatter_add.default,
}


class Violation(RuntimeError):
    """Something that CUDA does not do, or not while recording."""


def place() -> str:
    """Return the package's line of code that is being run."""
    for frame in reversed(traceback.extract_stack()):
        if "/hapens_bench/" in frame.filename:
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "?"


class OnDevice(torch.Tensor):
    """A tensor on the emulated device, around one on the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=torch.strided,
            device=DEVICE,
            requires_grad=False,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        sync("tolist")
        return self.inner.detach().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise Violation(f".numpy() of a CUDA tensor at {place()}")

    def __repr__(self) -> str:
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class Recording:
    """What is recorded now, if anything."""

    tape: list[Any] | None = None


def sync(what: Any) -> None:
    """Note a wait for the device, which a recording cannot hold."""
    if Recording.tape is not None:
        raise Violation(f"{what} waits for the device at {place()}, while a step is recorded")


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an aten call by CUDA's rules."""
    flat, spec = pytree.tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    device = [x for x in tensors if isinstance(x, OnDevice)]
    host = [x for x in tensors if not isinstance(x, OnDevice) and x.layout == torch.strided]
    wanted = kwargs.get("device")
    to_device = wanted is not None and torch.device(wanted).type == DEVICE.type
    to_host = wanted is not None and torch.device(wanted).type == "cpu"
    inner = [x.inner if isinstance(x, OnDevice) else x for x in flat]
    args_in, kwargs_in = pytree.tree_unflatten(inner, spec)
    if to_device:
        kwargs_in = {**kwargs_in, "device": torch.device("cpu")}
    if func is aten._to_copy.default and (device and to_host):
        sync(func)
        return func(*args_in, **kwargs_in)
    if func is aten._to_copy.default and (to_device and not device):
        sync(func)
        return wrap(run(func, args_in, kwargs_in))
    if func is aten.copy_.default and len(device) == 1:
        sync(func)
        if not isinstance(args[0], OnDevice):
            func(*args_in, **kwargs_in)
            return args[0]
    elif device and host:
        check_mixture(func, args, host)
    if device and func in SYNCS:
        sync(func)
        return wrap(func(*args_in, **kwargs_in))
    if device and func in INDEXING:
        indices = [x for x in args[1] or () if isinstance(x, torch.Tensor)]
        if any(x.dtype in (torch.bool, torch.uint8) for x in indices):
            sync(f"{func} with a mask")
    if device and func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
        sync(func)
    if not device and not to_device:
        return func(*args, **kwargs)
    out = run(func, args_in, kwargs_in)
    # in place, or out=
    same = [x for x in device if isinstance(out, torch.Tensor) and x.inner is out]
    return same[0] if same else wrap(out)


def check_mixture(func: Any, args: Any, host: list[torch.Tensor]) -> None:
    """Allow CPU tensors without axes, and CPU indices where nothing is recorded; nothing else."""
    if func in INDEXING:
        if not isinstance(args[0], OnDevice):
            raise Violation(f"a CUDA index into a CPU tensor: {func} at {place()}")
        if any(isinstance(x, torch.Tensor) and not isinstance(x, OnDevice) for x in args[1] or ()):
            sync(f"{func} with a CPU index")
        values = args[2] if len(args) > 2 else None
        if isinstance(values, torch.Tensor) and not isinstance(values, OnDevice) and values.dim():
            raise Violation(f"CPU values put into a CUDA tensor: {func} at {place()}")
    elif any(x.dim() for x in host) or func in ONE_DEVICE:
        raise Violation(f"CPU and CUDA tensors mixed: {func} at {place()}")


def wrap(out: Any) -> Any:
    """Put dense results on the device."""

    def on_device(x: Any) -> Any:
        return OnDevice(x) if isinstance(x, torch.Tensor) and x.layout == torch.strided else x

    return pytree.tree_map(on_device, out)


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute on the inner tensors, and record that."""
    with torch._C._DisableTorchDispatch():
        out = func(*args, **kwargs)
    if Recording.tape is not None:
        Recording.tape.append((func, args, kwargs, out))
    return out


def tensors_of(tree: Any) -> list[torch.Tensor]:
    """List the dense tensors of nested arguments."""
    return [
        x
        for x in pytree.tree_leaves(tree)
        if isinstance(x, torch.Tensor) and x.layout == torch.strided
    ]


def storages(tree: Any) -> set[int]:
    """Return the addresses of the memory of all dense tensors."""
    return {x.untyped_storage().data_ptr() for x in tensors_of(tree) if x.numel()}


class Tape:
    """A recorded step: calls in place are done again, fresh results are written to where they first
    were.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def replay(self) -> None:
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
                    continue  # a view, or a sparse matrix of recorded parts
                for old, new in zip(outs, tensors_of(func(*args, **kwargs)), strict=True):
                    old.copy_(new)


class Mode(TorchDispatchMode):
    """Sends calls without any tensor of the device here too: those that make one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def record(step: Callable[[], None], device: torch.device) -> Tape:
    """Stand in for `capture.record`. What it computes on the way is undone by the loop, as its
    warm-up is.
    """
    tape = Tape()
    Recording.tape = tape.calls
    try:
        step()
    finally:
        Recording.tape = None
    return tape


def keep(self: pack.Pack, trials: list[int]) -> None:
    """Stand in for `Pack.keep`: a wrapped tensor has no `data` to put another one into."""
    index = torch.tensor(trials, dtype=torch.int64).to(DEVICE)
    replaced = {}
    for module in (self.model, self.sampler, self.loss):
        for part in module.modules():
            for name, p in list(part._parameters.items()):
                if p is not None:
                    replaced[id(p)] = part._parameters[name] = torch.nn.Parameter(
                        p.detach()[index].clone()
                    )
            for name, b in list(part._buffers.items()):
                part._buffers[name] = b[index]
    self.optimizer.params = [replaced[id(p)] for p in self.optimizer.params]
    self.l2 = self.l2[index]
    self.optimizer.keep(index)
    for streams in (
        self.pool_streams,
        self.sampler_streams,
        self.shuffle_streams,
        self.dropout_streams,
    ):
        streams.keep(index)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Train on the emulated device; what torch.compile makes of the compiled functions is another
    test.
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
