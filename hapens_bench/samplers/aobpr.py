"""AOBPR: adaptive oversampling of items that rank high on a factor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives, Sampler
from hapens_bench.samplers.pool import Positives


class AOBPR(Sampler):
    """Draw a factor f and a rank r, and take the item at rank r of factor f.

        p(r) ~ exp(-r / lambda), p(f|u) ~ |v_uf| sigma_f, v_u the user's vector

    Items are ordered by q_jf, descending where v_uf > 0, else ascending; sigma_f is the deviation
    of q_jf over items. Orders and deviations are renewed every I ln I draws. In GMF v_u = w * p_u.
    lambda = `lam` * I, as in LibRec. `spread: variance` uses sigma^2 for sigma, as LibRec does.

    Rendle and Freudenthaler, "Improving pairwise learning for item recommendation from implicit
    feedback", WSDM 2014.

    Deviations: (r, f) is drawn R times, and the first item that is no positive is taken, or a
    uniform negative where all R are positives; Adam instead of SGD. LibRec's exponent is an integer
    division, a staircase; ours is smooth.
    """

    keys = {
        "lam": Key(float, above=0),
        "R": Key(int, low=1, high=64, shared=True),
        "spread": Key(str, choices=("std", "variance"), shared=True),
    }
    lam: Tensor
    order: Tensor
    sigma: Tensor

    def __init__(self, lam: Tensor, R: int, spread: str) -> None:
        super().__init__()
        self.hyperparameters(lam=lam)
        self.R, self.power = R, {"std": 1, "variance": 2}[spread]

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of the orders of the items."""
        return 8 * D * n_items

    def allocate(self, encoded: Encoded) -> None:
        """Register the order of the items by each factor, [T, D, I], and sigma, [T, D]."""
        T, I, D = encoded.items.shape
        self.register_buffer(
            "order", torch.zeros(T, D, I, dtype=torch.int64, device=encoded.items.device)
        )
        self.register_buffer("sigma", torch.zeros(T, D, device=encoded.items.device))

    def start(self, positives: Positives) -> None:
        """See `Sampler.start`."""
        self.positives = positives

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Draw R items by rank and factor; the pool's single candidate is the last resort."""
        users, B, R, I = batch.users, batch.users.shape[1], self.R, self.positives.n_items
        due = batch.step % max(1, round(I * math.log(I) / B)) == 0
        self._renew(due | ~self.sigma.any(), encoded.items)
        v = encoded.query(users)
        by_factor, by_rank = rng.uniform(batch.step * (2 * B * R), 2, B, R).unbind(1)
        line = (v.abs() * self.sigma[:, None] ** self.power).double().cumsum(-1)
        f = torch.searchsorted(line, by_factor * line[..., -1:], right=True).clamp(
            max=v.shape[-1] - 1
        )
        lam = self.lam.double() * I
        r = (-lam * torch.log1p(by_rank * torch.expm1(-I / lam))).long().clamp(max=I - 1)
        r = torch.where(v.gather(-1, f) > 0, r, I - 1 - r)
        flat = self.order.view(len(v), -1).gather(1, (f * I + r).flatten(1))
        drawn = torch.cat([flat.view_as(r), pool], -1)
        free = ~self.positives.contains(users[..., None], drawn)
        return Negatives(drawn.gather(-1, free.byte().argmax(-1, keepdim=True)))

    def _renew(self, due: Tensor, items: Tensor) -> None:
        """Sort the items by each factor, descending, if that is due.

        A captured step always sorts, and keeps the old order if it is not due.
        """
        if not due.is_cuda and not due:
            return
        order = items.transpose(1, 2).argsort(dim=-1, descending=True, stable=True)
        self.order.copy_(torch.where(due, order, self.order))
        self.sigma.copy_(torch.where(due, items.std(1, correction=0), self.sigma))
