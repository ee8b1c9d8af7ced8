"""AdaGrad for packs: every trial has its own learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.training.optimizer import PackOptimizer


class PackAdagrad(PackOptimizer):
    """AdaGrad (Duchi, Hazan and Singer, JMLR 2011).

    G <- G + g^2;  w <- w - lr g / (sqrt(G) + eps), g with its weight decay and G starting at
    `initial_accumulator`. The rule, the defaults and the order of operations are those of
    `torch.optim.Adagrad`. A row without a gradient or decay does not change.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: Tensor,
        initial_accumulator: float = 0.0,
        eps: float = 1e-10,
        weight_decay: Tensor | None = None,
    ) -> None:
        sums = [torch.full_like(p, initial_accumulator) for p in params]
        super().__init__(params, lr, {"sum": sums}, weight_decay)
        self.eps = eps

    @torch.no_grad()
    def step(self) -> None:
        """See `PackOptimizer.step`."""
        self.steps += 1
        for place, (p, G, lr) in enumerate(
            zip(self.params, self.slots["sum"], self.lr, strict=True)
        ):
            g = self.decayed(place)
            G.addcmul_(g, g)
            p.sub_(lr * g / (G.sqrt() + self.eps))
            p.grad = None
