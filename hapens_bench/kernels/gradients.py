"""The compiled loops that have a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hapens_bench.kernels.cpu import arrays, loops, many, propagation, shares


class Pairs(torch.autograd.Function):
    """See `models.base.Encoded.pairs`.

    The gradient of a leaf table is added to its `.grad` in place, where `PackAdam` finds and clears
    it: autograd would fill and add a table of zeros for every use.
    """

    @staticmethod
    def forward(ctx: Any, *tables_and_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score (users, positives, negatives) by two tables, with the norms of two more.

        Returns positive, negative, squares.
        """
        ctx.tables = tables_and_index[:4]
        ctx.index = [ids.contiguous() for ids in tables_and_index[4:]]
        users, _, negatives = ctx.index
        out = (torch.empty(users.shape), torch.empty(negatives.shape), torch.empty(users.shape))
        loops.scores(*arrays(*ctx.tables, *ctx.index, *out))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scatter the gradients of the three results into the tables."""
        targets = {id(table): _gradient(table) for table in ctx.tables}
        sums = [targets[id(table)] for table in ctx.tables]
        loops.scatter(*arrays(*ctx.tables, *ctx.index, *grads, *sums), shares(len(grads[0])))
        returned = [None if table.is_leaf else targets.pop(id(table), None) for table in ctx.tables]
        return (*returned, None, None, None)


MANY = 128  # negatives a positive from which `ManyPairs` is used


class ManyPairs(torch.autograd.Function):
    """`Pairs` for hundreds of negatives: block by block of items; see `kernels.many`."""

    @staticmethod
    def forward(ctx: Any, *tables_and_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Pairs.forward`."""
        ctx.tables = tables_and_index[:4]
        user_table, item_table, *egos = arrays(*ctx.tables)
        users, positives, negatives = arrays(*tables_and_index[4:])
        ctx.bits = block_bits(item_table.shape[1])
        blocks = ((item_table.shape[1] - 1) >> ctx.bits) + 1
        entries, start = np.empty_like(negatives), np.empty((*users.shape, blocks + 2), np.int32)
        many.sort_rows(negatives, ctx.bits, entries, start)
        ctx.index = users, positives, entries, start
        scored = np.zeros(negatives.shape, np.float32)
        many.scores(user_table, item_table, users, entries, start, scored)
        norms = [np.empty(table.shape[:2], np.float32) for table in egos]
        for table, norm in zip(egos, norms, strict=True):
            many.half_norms(table, norm)
        out = (torch.empty(users.shape), torch.empty(negatives.shape), torch.empty(users.shape))
        index = users, positives, entries
        many.finish(user_table, item_table, *norms, *index, scored, *arrays(*out))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """See `Pairs.backward`."""
        targets = {id(table): _gradient(table) for table in ctx.tables}
        sums = arrays(*(targets[id(table)] for table in ctx.tables))
        user_table, item_table, user_ego, item_ego = arrays(*ctx.tables)
        users, positives, entries, start = ctx.index
        d_positive, d_negative, d_squares = arrays(*grads)
        d_scored = np.empty_like(d_negative)
        many.sort_like(entries, d_negative, d_scored)
        (T, B), (_, I, D) = users.shape, item_table.shape
        parts = np.zeros((T, many.GROUPS, B, D), np.float32)
        many.scatter_items(
            *(user_table, item_table, item_ego, users, positives, entries, start, ctx.bits),
            *(d_positive, d_scored, d_squares, sums[1], sums[3]),
            *(np.zeros((T, I), np.float32), parts),
        )
        many.scatter_users(
            *(item_table, user_ego, users, positives, d_positive, d_squares, parts),
            *(sums[0], sums[2], shares(T)),
        )
        returned = [None if table.is_leaf else targets.pop(id(table), None) for table in ctx.tables]
        return (*returned, None, None, None)


def pairs_for(K: int) -> Any:
    """Return the function that scores K negatives a positive: `Pairs` or `ManyPairs`."""
    return (ManyPairs if MANY <= K < many.LARGEST else Pairs).apply


def block_bits(n_items: int) -> int:
    """Return the bits of an item's place in its block.

    1024 items of 64 numbers, and their gradients, take half a cache of 1 MiB; there are at least 16
    blocks, so that all threads have work, and at most 128.
    """
    return max(min(10, (n_items // 16).bit_length() - 1), ((n_items - 1) // 128).bit_length(), 0)


class Lookup(torch.autograd.Function):
    """See `models.base.rows`; the gradient is added as in `Pairs`."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        """Copy the rows that an index names: [T, n, D], [T, ...] -> [T, ..., D]."""
        ctx.table, ctx.index = table, index.flatten(1).contiguous()
        looked_up = torch.empty(*index.shape, table.shape[2])
        for rows, at, out in zip(table, ctx.index, looked_up.flatten(1, -2), strict=True):
            torch.index_select(rows, 0, at, out=out)
        return looked_up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        """Add the gradients of the rows to the table's."""
        target = _gradient(ctx.table)
        loops.add_rows(*arrays(target, ctx.index, grads[0].flatten(1, -2)), shares(len(target)))
        return None if ctx.table.is_leaf else target, None


def _gradient(table: Tensor) -> Tensor:
    if not table.is_leaf:
        return torch.zeros_like(table)
    if table.grad is None:
        table.grad = torch.zeros_like(table)
    return table.grad


class Drop(torch.autograd.Function):
    """See `models.dropout.Noise.drop`; the mask is drawn again for the gradient, not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: Tensor, keys: Tensor, counter: int) -> Tensor:
        """Drop entries of x."""
        ctx.where = (rate, keys, counter)
        return _drop(x, rate, keys, counter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Drop the same entries of the gradient."""
        return _drop(grads[0], *ctx.where), None, None, None


def _drop(x: Tensor, rate: Tensor, keys: Tensor, counter: int) -> Tensor:
    out = torch.empty(x.shape)
    x, rate, keys, flat = arrays(x.flatten(1), rate.flatten(), keys, out.flatten(1))
    propagation.drop(x, keys, counter, rate, flat, shares(len(keys)))
    return out


class Perturb(torch.autograd.Function):
    """See `models.dropout.Noise.perturb`; the gradient passes through."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, eps: Tensor, keys: Tensor, counter: int, normal: bool
    ) -> Tensor:
        """Move the rows of x."""
        out = torch.empty(x.shape)
        entries, lengths, seeds, moved = arrays(x, eps.flatten(), keys, out)
        propagation.perturb(entries, seeds, counter, lengths, normal, moved)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as it is."""
        return grads[0], None, None, None, None


class Unit(torch.autograd.Function):
    """Rows divided by their lengths, as by `torch.nn.functional.normalize`.

    The gradient of that function takes ten passes over the table.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Scale each row, x[..., :], to length 1."""
        ctx.save_for_backward(x)
        out = torch.empty(x.shape)
        propagation.unit(*arrays(x.flatten(0, -2), out.flatten(0, -2)))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Remove the part of the gradient along the row."""
        (x,) = ctx.saved_tensors
        out = torch.empty(x.shape)
        propagation.unit_gradient(
            *arrays(x.flatten(0, -2), grads[0].flatten(0, -2), out.flatten(0, -2))
        )
        return out
