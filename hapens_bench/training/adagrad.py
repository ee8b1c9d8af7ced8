"""AdaGrad for packs: every trial has its own learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackAdagrad:
    """Dense AdaGrad over parameters with a leading trial axis (Duchi, Hazan and Singer, JMLR 2011).

    G <- G + g^2;  w <- w - lr g / (sqrt(G) + eps), G from `initial_accumulator` on. The same rule, defaults and order of operations as
    `torch.optim.Adagrad`; elementwise, so trials never touch each other. A row without a gradient stays where it is.

    Shape:
        lr: [T, 1, 1], or [P, T, 1, 1] with one for each parameter; parameters: P times [T, ...] with at least two further axes
        of any size.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: Tensor, initial_accumulator: float = 0.0, eps: float = 1e-10
    ) -> None:
        self.params, self.eps = params, eps
        self.lr = lr.expand(len(params), *lr.shape[-3:])
        self.steps = torch.zeros((), dtype=torch.int64, device=lr.device)
        self.sums = [torch.full_like(p, initial_accumulator) for p in params]

    @property
    def slots(self) -> dict[str, list[Tensor]]:
        """What is remembered of each parameter, by name."""
        return {"sum": self.sums}

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients, then drop them."""
        self.steps += 1
        for p, G, lr in zip(self.params, self.sums, self.lr, strict=True):
            g = p.grad
            assert g is not None
            G.addcmul_(g, g)
            p.sub_(lr * g / (G.sqrt() + self.eps))
            p.grad = None

    def keep(self, trials: Tensor) -> None:
        """Keep the state of the given trials only (indices on the trial axis)."""
        self.lr = self.lr[:, trials]
        self.sums = [G[trials] for G in self.sums]
