"""The compiled loops that have a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hapens_bench.kernels.cpu import arrays, loops, propagation, shares


class Pairs(torch.autograd.Function):
    """See `models.base.Encoded.pairs`.

    The gradient of a leaf table is added to its `.grad` in place, where `PackAdam` finds and clears it: autograd would fill
    and add up a table of zeros for every use.
    """

    @staticmethod
    def forward(ctx: Any, *tables_and_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score (users, positives, negatives) by two tables, with the norms of two more; gives positive, negative, squares."""
        ctx.tables = tables_and_index[:4]
        ctx.index = [part.contiguous() for part in tables_and_index[4:]]
        users, _, negatives = ctx.index
        out = (torch.empty(users.shape), torch.empty(negatives.shape), torch.empty(users.shape))
        loops.scores(*arrays(*ctx.tables, *ctx.index, *out))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scatter the gradients of the three results into the tables."""
        targets = {id(table): _gradient(table) for table in ctx.tables}
        own = [targets[id(table)] for table in ctx.tables]
        loops.scatter(*arrays(*ctx.tables, *ctx.index, *grads, *own), shares(len(grads[0])))
        given = [None if table.is_leaf else targets.pop(id(table), None) for table in ctx.tables]
        return (*given, None, None, None)


class Lookup(torch.autograd.Function):
    """See `models.base.rows`; the gradient goes where that of `Pairs` goes."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        """Copy the rows that an index names: [T, n, D], [T, ...] -> [T, ..., D]."""
        ctx.table, ctx.index = table, index.flatten(1).contiguous()
        found = torch.empty(*index.shape, table.shape[2])
        for own, at, out in zip(table, ctx.index, found.flatten(1, -2), strict=True):
            torch.index_select(own, 0, at, out=out)
        return found

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


class Unit(torch.autograd.Function):
    """Rows divided by their lengths, as `torch.nn.functional.normalize` does it, whose gradient takes ten passes over the table."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Give each row, x[..., :], the length 1."""
        ctx.save_for_backward(x)
        out = torch.empty(x.shape)
        propagation.unit(*arrays(x.flatten(0, -2), out.flatten(0, -2)))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Take away what of the gradient lies along the row."""
        (x,) = ctx.saved_tensors
        out = torch.empty(x.shape)
        propagation.unit_gradient(
            *arrays(x.flatten(0, -2), grads[0].flatten(0, -2), out.flatten(0, -2))
        )
        return out
