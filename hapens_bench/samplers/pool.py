"""The candidate pool: M items a positive, each exactly uniform over what the user has not interacted with in train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray
from hapens_bench.rng import GAMMA, Streams, mix, to_below


class Positives:
    """Each user's train items as sorted rows (CSR), with membership and rank-select.

    Membership looks into a packed user x item bitmap while that fits `bitmap_bytes`, else it is a binary search in
    the user's row; both give the same answer.

    Shape:
        indptr: [U+1] int64; items: [N] int64 ascending inside each user; bitmap: [U, ceil(I/8)] uint8 or None.
    """

    def __init__(
        self,
        pairs: IntArray,
        n_users: int,
        n_items: int,
        device: torch.device | str = "cpu",
        bitmap_bytes: int = 1 << 29,
    ) -> None:
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        users, items = pairs[order, 0], pairs[order, 1]
        self.n_users, self.n_items = n_users, n_items
        counts = np.bincount(users, minlength=n_users)
        self.most = int(counts.max(initial=0))
        self.indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)
        padded = items if len(items) else np.zeros(1, dtype=np.int64)  # a place that searches may look at and ignore
        self.items = torch.from_numpy(np.ascontiguousarray(padded)).to(device)
        self.row_bytes = (n_items + 7) // 8
        self.bitmap: Tensor | None = None
        if n_users * self.row_bytes <= bitmap_bytes:
            packed = np.zeros(n_users * self.row_bytes, dtype=np.uint8)
            np.bitwise_or.at(packed, users * self.row_bytes + (items >> 3), (1 << (items & 7)).astype(np.uint8))
            self.bitmap = torch.from_numpy(packed).to(device)

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Tell whether item j is a train item of user u, for broadcastable index tensors."""
        if self.bitmap is not None:
            byte = self.bitmap[users * self.row_bytes + (items >> 3)]
            return ((byte >> (items & 7).to(torch.uint8)) & 1).bool()
        users, items = torch.broadcast_tensors(users, items)
        low = self._search(users, lambda at: self.items[at] < items)
        inside = low < self.indptr[users + 1]
        return inside & (self.items[low.clamp(max=len(self.items) - 1)] == items)

    def uninteracted(self, users: Tensor) -> Tensor:
        """Count the items that user u has not interacted with: I - n_u."""
        return self.n_items - (self.indptr[users + 1] - self.indptr[users])

    def select(self, users: Tensor, rank: Tensor) -> Tensor:
        """Give the item of rank r, 0 <= r < I - n_u, among the user's uninteracted items in id order.

        With positives p_0 < p_1 < ..., c = #{j : p_j - j <= r} of them lie before it, and the item is r + c.
        """
        start = self.indptr[users]
        count = self._search(users, lambda at: self.items[at] - (at - start) <= rank) - start
        return rank + count

    def _search(self, users: Tensor, before: Callable[[Tensor], Tensor]) -> Tensor:
        """Binary search each user's row for the first place where `before(place)` is false."""
        low, high = self.indptr[users], self.indptr[users + 1]
        last = len(self.items) - 1
        for _ in range(self.most.bit_length()):
            middle = (low + high) >> 1
            go = before(middle.clamp(max=last)) & (low < high)
            low, high = torch.where(go, middle + 1, low), torch.where(go, high, middle)
        return low


def draw_pool(positives: Positives, users: Tensor, M: int, streams: Streams, counter: int) -> Tensor:
    """Draw M candidates for each user, independent and uniform over the user's uninteracted items.

    One draw over all items; where it hits a train item, a second, never failing draw by rank-select takes its place.
    With n_u positives among I items, a given candidate has probability 1/I + (n_u/I) / (I - n_u) = 1 / (I - n_u): exact for
    any density, at a fixed cost. Candidates may repeat; held-out items can be drawn, as in every published code.

    Shape:
        users: [T, B] -> [T, B, M] int64. Uses the outputs counter .. counter + B*M - 1 of each trial's stream.
    """
    T, B = users.shape
    bits = streams.bits(counter, B, M)
    items = to_below(bits, positives.n_items, positives.n_items)
    hit = positives.contains(users[..., None], items)
    if positives.items.is_cuda:  # no look at the data from the host: redraw everywhere, keep where needed
        owner = users[..., None].expand(T, B, M)
        return torch.where(hit, _second_draw(positives, owner, bits), items)
    where = hit.flatten().nonzero().squeeze(-1)
    owner = users.flatten()[where // M]
    items.view(-1)[where] = _second_draw(positives, owner, bits.flatten()[where])
    return items


def _second_draw(positives: Positives, users: Tensor, first_bits: Tensor) -> Tensor:
    """Turn the words of failed draws into fresh ones, and those into items by rank-select."""
    bits = mix(first_bits + GAMMA)
    return positives.select(users, to_below(bits, positives.uninteracted(users), positives.n_items))
