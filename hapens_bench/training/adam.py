"""Adam for packs: every trial has its own learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.kernels import Engine, compiled, cpu
from hapens_bench.training.optimizer import PackOptimizer

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8


class PackAdam(PackOptimizer):
    """Adam (Kingma and Ba, ICLR 2015).

    m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;  w <- w - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t))
    + eps), g with its weight decay. The rule, the constants and the order of operations are those
    of `torch.optim.Adam` at its defaults.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: Tensor,
        engine: Engine = Engine.PLAIN,
        weight_decay: Tensor | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            {
                "m": [torch.zeros_like(p) for p in params],
                "v": [torch.zeros_like(p) for p in params],
            },
            weight_decay,
        )
        self.engine = engine

    @torch.no_grad()
    def step(self) -> None:
        """See `PackOptimizer.step`."""
        self.steps += 1
        scales = (self.lr / (1 - BETA_1 ** self.steps.double())).float()
        root = (1 - BETA_2 ** self.steps.double()).sqrt()
        update = compiled(_update) if self.engine is Engine.CUDA else _update
        for place, (p, m, v, scale) in enumerate(
            zip(self.params, self.slots["m"], self.slots["v"], scales, strict=True)
        ):
            if self.engine is Engine.NUMBA:
                decay = None if self.weight_decay is None else self.weight_decay[place]
                cpu.adam(p, m, v, scale, float(root), (BETA_1, BETA_2), EPS, decay)
                continue
            update(p.detach(), self.decayed(place), m, v, scale, root.float())
            p.grad = None


def _update(p: Tensor, g: Tensor, m: Tensor, v: Tensor, scale: Tensor, root: Tensor) -> None:
    """Apply a gradient in place; compiled, this is one pass over the tables.

    Shape:
        p, g, m, v: [T, ...]; scale: [T, 1, 1]; root: [].
    """
    m.lerp_(g, 1 - BETA_1)
    v.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
    p.sub_(scale * m / (v.sqrt().div_(root).add_(EPS)))
