"""An emulated CUDA device: tensors that hold CPU data, claim another device and obey CUDA's rules.

- Mixing with CPU tensors of one axis or more is an error, and so is a CPU index.
- Host syncs (`.item()`, `nonzero`, masks, copies between devices) are errors while a step is
  recorded.
- A recording is a tape of aten calls, replayed into the memory they first wrote: a Python value
  that was read while recording stays what it was, as in a CUDA graph.

`emulated.installed()` puts it in the place of CUDA for the training loop: device `DEVICE`, engine
`Engine.CUDA`.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

DEVICE = torch.device("meta")  # a device type that the tests do not use otherwise
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
    """A call that CUDA refuses, always or while recording."""


def place() -> str:
    """Return the package's line of code that is running."""
    for frame in reversed(traceback.extract_stack()):
        if "/hapens_bench/" in frame.filename:
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "?"


class OnDevice(torch.Tensor):
    """A tensor on the emulated device, wrapping one on the CPU."""

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
    """The present recording, if any."""

    tape: list[Any] | None = None


def sync(what: Any) -> None:
    """Note a wait for the device; refuse it while a step is recorded."""
    if Recording.tape is not None:
        raise Violation(f"{what} waits for the device at {place()}, while a step is recorded")


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an aten call by CUDA's rules."""
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
    # the call wrote in place, or to out=
    same = [x for x in device if isinstance(out, torch.Tensor) and x.inner is out]
    return same[0] if same else wrap(out)


def check_mixture(func: Any, args: Any, host: list[torch.Tensor]) -> None:
    """Allow CPU tensors without axes, and CPU indices outside a recording; nothing else."""
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
    """Compute on the inner tensors, and record the call."""
    with torch._C._DisableTorchDispatch():
        out = func(*args, **kwargs)
    if Recording.tape is not None:
        Recording.tape.append((func, args, kwargs, out))
    return out


def tensors_of(tree: Any) -> list[torch.Tensor]:
    """Return the dense tensors of nested arguments."""
    return [
        x
        for x in pytree.tree_leaves(tree)
        if isinstance(x, torch.Tensor) and x.layout == torch.strided
    ]


def storages(tree: Any) -> set[int]:
    """Return the memory addresses of all dense tensors."""
    return {x.untyped_storage().data_ptr() for x in tensors_of(tree) if x.numel()}
