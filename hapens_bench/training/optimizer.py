"""The base class of the optimisers of packs."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class PackOptimizer(ABC):
    """A dense, elementwise optimiser over parameters with the trial axis first; trials never mix.

    `slots` holds, by name, the state that a subclass keeps for each parameter. `weight_decay`, lam,
    is the coupled one of `torch.optim`: g <- g + lam w for every row, with a gradient or without.

    Shape:
        lr, weight_decay: [T, 1, 1], or [P, T, 1, 1] with one for each of P parameters; parameters,
        and the tensors of each slot: P times [T, ...] with at least two further axes of any size.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: Tensor,
        slots: dict[str, list[Tensor]],
        weight_decay: Tensor | None = None,
    ) -> None:
        self.params, self.slots = params, slots
        self.lr = lr.expand(len(params), *lr.shape[-3:])
        self.weight_decay: Tensor | None = None
        if weight_decay is not None:
            self.weight_decay = weight_decay.expand(len(params), *weight_decay.shape[-3:])
        self.steps = torch.zeros((), dtype=torch.int64, device=lr.device)

    @abstractmethod
    def step(self) -> None:
        """Apply the gradients, then drop them."""

    def decayed(self, place: int) -> Tensor:
        """Return the gradient of a parameter with its decay."""
        p = self.params[place]
        assert p.grad is not None
        if self.weight_decay is None:
            return p.grad
        return p.grad.addcmul(p, self.weight_decay[place])

    def keep(self, trials: Tensor) -> None:
        """Keep the state of the given trials only (indices on the trial axis)."""
        self.lr = self.lr[:, trials]
        if self.weight_decay is not None:
            self.weight_decay = self.weight_decay[:, trials]
        self.slots = {
            name: [tensor[trials] for tensor in tensors] for name, tensors in self.slots.items()
        }
