"""Functions of numbers whose bits do not depend on the place in the tensor.

Torch's own compute what is left over after whole vectors by other instructions. A trial would get
other bits in a pack, where its numbers begin at another place.
"""

from __future__ import annotations

import torch
from torch import Tensor


def softplus(x: Tensor) -> Tensor:
    """Return ln(1 + e^x)."""
    return torch.maximum(x, torch.zeros_like(x)) + torch.log1p(torch.exp(-x.abs()))


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x), of -80 where x is smaller."""
    return (1 + torch.exp(-x.clamp(min=-80))).reciprocal()
