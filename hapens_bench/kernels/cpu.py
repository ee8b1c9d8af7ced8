"""The compiled loops as functions of tensors; those with a gradient are in `gradients`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba.core.registry import cpu_target
from torch import Tensor

from hapens_bench.kernels import least_squares as least_squares_module
from hapens_bench.kernels import loops as loops_module
from hapens_bench.kernels import many as many_module
from hapens_bench.kernels import membership as membership_module
from hapens_bench.kernels import propagation as propagation_module
from hapens_bench.kernels import ranks as ranks_module

LOG = logging.getLogger("hapens_bench.kernels")
least_squares: Any = least_squares_module
loops: Any = loops_module  # numba types its functions by their decorator, not by their arguments
many: Any = many_module
membership: Any = membership_module
ranks: Any = ranks_module
propagation: Any = propagation_module
config: Any = numba.config

# Without passive waiting (see hapens_bench/__init__.py) numba's OpenMP threads and torch's would
# starve each other.
passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
config.THREADING_LAYER = "default" if passive else "workqueue"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


@lru_cache(maxsize=1)
def prepare() -> None:
    """Let another process compile the loops that numba has not cached (seconds, once).

    A process that compiles a function runs other machine code than one that loads it (the body of a
    parallel loop is optimised again when it is stored). Sums that may be reordered then differ in
    their last bits, and a resumed run would not equal an uninterrupted one. Loading it afterwards
    in the same process does not help: the linker keeps the first version. This process therefore
    loads them, each at its first call: all of them would take 0.4 s.
    """
    cached = _loops()
    if all(map(_is_cached, cached)):
        return
    home = Path(__file__).parents[2]
    paths = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from hapens_bench.kernels import cpu; cpu.call_all()"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths})
    if not all(map(_is_cached, cached)):
        call_all()
        LOG.warning(
            "numba cannot keep what it compiled; "
            "equal runs in two processes may differ in their last bits"
        )


def _loops() -> list[Any]:
    """Return the loops that numba caches."""
    functions = [
        value
        for module in (least_squares, loops, many, membership, propagation, ranks)
        for value in vars(module).values()
    ]
    return [loop for loop in functions if getattr(loop, "stats", None) and loop.stats.cache_path]


def _is_cached(loop: Any) -> bool:
    """Return whether numba has cached a loop's current source for this version and processor."""
    # This is what numba itself checks; there is no public way to ask without compiling.
    stored = loop._cache._cache_file._load_index()
    here = cpu_target.target_context.codegen().magic_tuple()
    return any(processor == here for _, processor, _ in stored)


def call_all() -> None:
    """Call every loop once on inputs of size one."""
    f, i, b = (np.zeros(1, dtype=kind) for kind in (np.float32, np.int64, np.uint8))
    f2, f3, i2, i3 = f.reshape(1, 1), f.reshape(1, 1, 1), i.reshape(1, 1), i.reshape(1, 1, 1)
    rows, one = np.array([0, 0]), np.float32(1)
    membership.draw_pool(i2, i, 0, rows, i, b, 1, 1, 1, i3)
    membership.replace_known(i2, i2, i3, rows, i, b, 1, i3)
    loops.gather_dot(f3, f3, i2, i3, f3)
    loops.scores(f3, f3, f3, f3, i2, i2, i3, f2, f3, f2)
    loops.scatter(f3, f3, f3, f3, i2, i2, i3, f2, f3, f2, f3, f3, f3, f3, 1)
    loops.add_rows(f3, i2, f3, 1)
    start = np.zeros((1, 1, 3), dtype=np.int32)
    many.sort_rows(i3, 1, i3, start)
    many.scores(f3, f3, i2, i3, start, f3)
    many.half_norms(f3, f2)
    many.finish(f3, f3, f2, f2, i2, i2, i3, f3, f2, f3, f2)
    many.sort_like(i3, f3, f3)
    parts = np.zeros((1, many.GROUPS, 1, 1), dtype=np.float32)
    many.scatter_items(f3, f3, f3, i2, i2, i3, start, 1, f2, f3, f2, f3, f3, f2, parts)
    many.scatter_users(f3, f3, i2, i2, f2, f2, parts, f3, f3, 1)
    loops.adam(f2, f2, f2, f2, f, one, one, one, one, one, f, 1)
    rows32, none = rows.astype(np.int32), i.astype(np.int32)[:0]
    least_squares.conjugate_gradients(rows32, none, f2, f, f, 1, 1, f2)
    least_squares.squared_errors(rows32, none, f2, f2, np.zeros(1))
    least_squares.squared_lengths(f2, np.zeros(1))
    ranks.mark_hits(f2, 0, rows, i, rows, i, np.zeros((1, 1), dtype=bool))
    ranks.top_lists(f2, 0, np.zeros((1, 1), dtype=np.int32))
    ranks.count_below(f2, i, i2, rows, i, i2)
    ranks.positives_below(f2, i, rows, i, i)
    membership.tally(i2, f2, f3, i3, rows, i, b, 1, np.zeros((5, 1)))
    propagation.multiply(rows32, none, f2[:, :0], f3, f3, 1)
    propagation.drop(f2, i, 0, f, f2, 1)
    propagation.perturb(f3, i, 0, f, False, f3)
    propagation.unit(f2, f2)
    propagation.unit_gradient(f2, f2, f2)


def set_threads(n: int | None = None) -> int:
    """Have the loops compiled, and let torch and numba use n threads; return that number.

    Without n, it is the number of cores that this process may use.
    """
    prepare()
    keep_freed_blocks()
    n = n or len(os.sched_getaffinity(0))
    torch.set_num_threads(n)
    numba.set_num_threads(min(n, config.NUMBA_NUM_THREADS))
    return n


def keep_freed_blocks() -> None:
    """Let glibc reuse freed blocks of up to 256 MiB.

    By default it returns blocks over 32 MiB to the system and asks for new ones, and every new page
    is zeroed at its first use. The tables of a pack of 4 on Gowalla are such blocks, and half of a
    step's time went there (150,000 page faults).
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 2**28)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def shares(T: int) -> int:
    """Return how many threads share each of T trials, so that all threads have work."""
    return max(1, -(-numba.get_num_threads() // T))


Rows = tuple[Tensor, Tensor, Tensor | None, int]  # `samplers.pool.Positives.rows`


def draw_pool(
    users: Tensor, M: int, keys: Tensor, counter: int, known: Rows, n_items: int, attempts: int
) -> Tensor:
    """See `samplers.pool.draw_pool`; it draws the same items."""
    out = torch.empty(*users.shape, M, dtype=torch.int64)
    membership.draw_pool(
        *arrays(users, keys), counter, *_known(known), n_items, attempts, out.numpy()
    )
    return out


def replace_known(users: Tensor, shared: Tensor, stand_in: Tensor, known: Rows) -> Tensor:
    """See `samplers.ssm.SSM`: the shared items of each row, with stand-ins: -> [T, B, K]."""
    out = torch.empty(*users.shape, shared.shape[1], dtype=torch.int64)
    membership.replace_known(*arrays(users, shared, stand_in), *_known(known), out.numpy())
    return out


def score(user_table: Tensor, item_table: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """See `models.base.Encoded.score`."""
    out = torch.empty(items.shape)
    loops.gather_dot(*arrays(user_table, item_table, users, items), out.numpy())
    return out


def arrays(*tensors: Tensor) -> Any:
    """Return contiguous numpy arrays of tensors, without their gradients."""
    return tuple((x.detach() if x.requires_grad else x).contiguous().numpy() for x in tensors)


def adam(
    param: Tensor,
    m: Tensor,
    v: Tensor,
    scale: Tensor,
    root: float,
    betas: tuple[float, float],
    eps: float,
    decay: Tensor | None,
) -> None:
    """See `training.adam.PackAdam`; clears the gradient."""
    assert param.grad is not None
    flat: Any = [x.detach().reshape(len(param), -1).numpy() for x in (param, param.grad, m, v)]
    numbers = [np.float32(x) for x in (1 / root, 1 - betas[0], betas[1], 1 - betas[1], eps)]
    lam = torch.zeros(len(param)) if decay is None else decay.flatten()
    loops.adam(*flat, scale.flatten().numpy(), *numbers, lam.numpy(), shares(len(param)))


def multiply(indptr: Tensor, index: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """Return the product of a sparse matrix with T tables; see `models.graph.Graph.multiply`."""
    out = torch.empty(len(table), len(indptr) - 1, table.shape[2])
    propagation.multiply(*arrays(indptr, index, weight, table, out), 4 * shares(len(table)))
    return out


def conjugate_gradients(
    indptr: Any, index: Any, table: Tensor, shared: Tensor, l2: Tensor, steps: int, x: Tensor
) -> None:
    """See `models.ials.approach`; x is overwritten."""
    tensors = arrays(table, shared, l2)
    least_squares.conjugate_gradients(indptr, index, *tensors, steps, 4 * shares(1), x.numpy())


def squared_errors(indptr: Any, index: Any, rows: Tensor, table: Tensor) -> Tensor:
    """Return the sum of (<x_r, q_i> - 1)^2 over the entries i of each row r, float64."""
    out = torch.empty(len(rows), dtype=torch.float64)
    least_squares.squared_errors(indptr, index, *arrays(rows, table, out))
    return out


def squared_lengths(rows: Tensor) -> Tensor:
    """Return the sum of the squares of each row, float64."""
    out = torch.empty(len(rows), dtype=torch.float64)
    least_squares.squared_lengths(*arrays(rows, out))
    return out


def mark_hits(
    scores: Tensor,
    begin: int,
    exclude: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
    hits: Tensor,
) -> None:
    """Mark the targets in the top K of a block of users, as in `evaluation.ranking.FullRanking`.

    Shape:
        scores: [n, I], overwritten; exclude, targets: rows of all ranked users as
        (start [users + 1], items); hits: [users, K].
    """
    ranks.mark_hits(scores.numpy(), begin, *arrays(*exclude, *targets), hits.numpy())


def top_lists(scores: Tensor, begin: int, lists: Tensor) -> None:
    """List the best items of a block of users, after `mark_hits` has left out the excluded ones.

    Shape:
        scores: [n, I]; lists: [users, K] int32, full of -1.
    """
    ranks.top_lists(scores.numpy(), begin, lists.numpy())


def count_below(
    scores: Tensor, users: Tensor, items: Tensor, indptr: Tensor, known: Tensor, below: Tensor
) -> None:
    """Write to `below` how many uninteracted items score lower than each negative.

    Shape:
        scores: [n, I]; users: [n]; items, below: [n, K];
        indptr [U+1], known [N]: all users' train items.
    """
    ranks.count_below(*arrays(scores, users, items, indptr, known), below.numpy())


def positives_below(
    scores: Tensor, users: Tensor, indptr: Tensor, known: Tensor, below: Tensor
) -> None:
    """Write to `below` how many uninteracted items score lower than each train item.

    Shape:
        scores: [n, I]; users: [n]; indptr [U+1], known, below [N]: of all users.
    """
    ranks.positives_below(*arrays(scores, users, indptr, known), below.numpy())


def tally(
    users: Tensor, positive: Tensor, negative: Tensor, negatives: Tensor, truth: Rows, sums: Tensor
) -> None:
    """See `training.hardness.HardnessMeter.add`; items in `truth` count as false negatives."""
    membership.tally(*arrays(users, positive, negative, negatives), *_known(truth), sums.numpy())


def _known(rows: Rows) -> Any:
    indptr, items, bitmap, row_bytes = rows
    bits = np.empty(0, dtype=np.uint8) if bitmap is None else bitmap.numpy()
    return *arrays(indptr, items), bits, row_bytes
