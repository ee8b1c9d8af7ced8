"""Adam for packs: every trial has its own learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hapens_bench.kernels import Engine, cpu


class PackAdam:
    """Dense Adam over parameters with a leading trial axis (Kingma and Ba, ICLR 2015).

    m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;  w <- w - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps). The same
    rule, defaults and order of operations as `torch.optim.Adam`; elementwise, so trials never touch each other.

    Shape:
        lr: [T, 1, 1], or [P, T, 1, 1] with one for each parameter; parameters: P times [T, ...] with at least two further axes
        of any size.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        engine: Engine = Engine.PLAIN,
    ) -> None:
        self.params, self.betas, self.eps, self.engine = params, betas, eps, engine
        self.lr = lr.expand(len(params), *lr.shape[-3:])
        self.steps = torch.zeros((), dtype=torch.int64, device=lr.device)
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]

    @property
    def slots(self) -> dict[str, list[Tensor]]:
        """What is remembered of each parameter, by name."""
        return {"m": self.m, "v": self.v}

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients, then drop them."""
        self.steps += 1
        b1, b2 = self.betas
        scales = (self.lr / (1 - b1 ** self.steps.double())).float()
        root = (1 - b2 ** self.steps.double()).sqrt()
        for p, m, v, scale in zip(self.params, self.m, self.v, scales, strict=True):
            if self.engine is Engine.NUMBA:
                cpu.adam(p, m, v, scale, float(root), self.betas, self.eps)
                continue
            g = p.grad
            assert g is not None
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            p.sub_(scale * m / (v.sqrt().div_(root.float()).add_(self.eps)))
            p.grad = None

    def keep(self, trials: Tensor) -> None:
        """Keep the state of the given trials only (indices on the trial axis)."""
        self.lr = self.lr[:, trials]
        self.m = [m[trials] for m in self.m]
        self.v = [v[trials] for v in self.v]
