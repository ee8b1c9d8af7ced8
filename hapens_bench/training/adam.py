"""Adam for packs: every trial has its own learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.kernels import Engine, cpu
from hapens_bench.training.optimizer import PackOptimizer


class PackAdam(PackOptimizer):
    """Adam (Kingma and Ba, ICLR 2015).

    m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;  w <- w - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t))
    + eps), g with its weight decay. The rule, the defaults and the order of operations are those of
    `torch.optim.Adam`.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
        self.betas, self.eps, self.engine = betas, eps, engine

    @torch.no_grad()
    def step(self) -> None:
        """See `PackOptimizer.step`."""
        self.steps += 1
        b1, b2 = self.betas
        scales = (self.lr / (1 - b1 ** self.steps.double())).float()
        root = (1 - b2 ** self.steps.double()).sqrt()
        for place, (p, m, v, scale) in enumerate(
            zip(self.params, self.slots["m"], self.slots["v"], scales, strict=True)
        ):
            if self.engine is Engine.NUMBA:
                decay = None if self.weight_decay is None else self.weight_decay[place]
                cpu.adam(p, m, v, scale, float(root), self.betas, self.eps, decay)
                continue
            g = self.decayed(place)
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            p.sub_(scale * m / (v.sqrt().div_(root.float()).add_(self.eps)))
            p.grad = None
