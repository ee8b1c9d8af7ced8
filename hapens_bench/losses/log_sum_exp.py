"""The sum over negatives that the softmax losses share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LogSumExp(torch.autograd.Function):
    """ln sum_k e^(y_k) of numbers y_k that depend on s_uk - s_ui.

    Autograd would keep and pass over [T, B, K] at each operation between the scores and the sum;
    this keeps one such tensor and returns both gradients from it. Where every y_k is -inf, the sum
    is too, and the gradients are 0.
    """

    @staticmethod
    def forward(ctx: Any, positive: Tensor, negative: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        """Return the sum; y is overwritten.

        Shape:
            positive: [T, B]; negative, y: [T, B, K]; slope, dy_k / ds_uk = -dy_k / ds_ui: the same,
            or [T, 1, 1] -> [T, B].
        """
        top = y.amax(-1, keepdim=True).clamp(min=torch.finfo(y.dtype).min)
        e = y.sub_(top).exp_()
        total = e.sum(-1, keepdim=True)
        ctx.save_for_backward(e, total, slope)
        return (total.log() + top).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the scores."""
        e, total, slope = ctx.saved_tensors
        scale = grads[0][..., None] / total.clamp(min=torch.finfo(total.dtype).tiny)
        d = e * (scale * slope) if slope.shape[-1] == 1 else e * slope * scale
        return -d.sum(-1), d, None, None


def softmax_loss(
    positive: Tensor, negative: Tensor, tau: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return ln sum_k w_k e^((s_uk - s_ui)/tau), with w_k = 1 where there are no weights.

    Shape:
        positive: [T, B]; negative, weights: [T, B, K]; tau: [T, 1, 1] -> [T, B].
    """
    y = (negative.detach() - positive.detach()[..., None]).div_(tau)
    if weights is not None:
        y += weights.log()
    value: Tensor = LogSumExp.apply(positive, negative, y, 1 / tau)
    return value
