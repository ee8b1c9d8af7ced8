"""The candidate pool: M items per positive, exactly uniform over the user's uninteracted items.

Uninteracted means: not among the user's train items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hapens_bench.data.interactions import IntArray, sort_pairs
from hapens_bench.kernels import Engine, compiled, cpu
from hapens_bench.rng import GAMMA, Streams, mix, scale_below, to_below


class Positives:
    """Each user's train items as sorted rows (CSR), with membership tests and rank-select.

    Membership is looked up in a packed user x item bitmap while that fits into `bitmap_bytes`, else
    by binary search in the user's row. Both give the same answer.

    Shape:
        indptr: [U+1] int64; items: [N] int64, ascending inside each user;
        bitmap: [U, ceil(I/8)] uint8 or None.
    """

    def __init__(
        self,
        pairs: IntArray,
        n_users: int,
        n_items: int,
        device: torch.device | str = "cpu",
        bitmap_bytes: int = 1 << 29,
        engine: Engine = Engine.PLAIN,
    ) -> None:
        self.engine = engine
        users, items = sort_pairs(pairs).T
        self.n_users, self.n_items = n_users, n_items
        counts = np.bincount(users, minlength=n_users)
        self.most = int(counts.max(initial=0))
        self.depth = self.most.bit_length()  # of a binary search in the longest row
        self.scale = scale_below(n_items)
        self.longest = np.sort(counts)[::-1]
        self.indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)
        # Without pairs there is still one entry, which searches read and ignore.
        padded = items if len(items) else np.zeros(1, dtype=np.int64)
        self.items = torch.from_numpy(np.ascontiguousarray(padded)).to(device)
        self.row_bytes = (n_items + 7) // 8
        self.bitmap: Tensor | None = None
        if n_users * self.row_bytes <= bitmap_bytes:
            packed = np.zeros(n_users * self.row_bytes, dtype=np.uint8)
            np.bitwise_or.at(
                packed, users * self.row_bytes + (items >> 3), (1 << (items & 7)).astype(np.uint8)
            )
            self.bitmap = torch.from_numpy(packed).to(device)

    @property
    def rows(self) -> tuple[Tensor, Tensor, Tensor | None, int]:
        """The tables of a membership test: indptr, items, bitmap and the bytes of a bitmap row."""
        return self.indptr, self.items, self.bitmap, self.row_bytes

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Return whether item j is a train item of user u, for broadcastable index tensors."""
        if self.bitmap is not None:
            byte = self.bitmap[users * self.row_bytes + (items >> 3)]
            return ((byte >> (items & 7).to(torch.uint8)) & 1).bool()
        users, items = torch.broadcast_tensors(users, items)
        low = self.place(users, items)
        inside = low < self.indptr[users + 1]
        return inside & (self.items[low.clamp(max=len(self.items) - 1)] == items)

    def place(self, users: Tensor, items: Tensor) -> Tensor:
        """Return where in `items` the pair (u, j) is, or would be put."""
        return self.search(users, lambda at: self.items[at] < items)

    def degrees(self) -> Tensor:
        """Return how many pairs each item is in, [I] int64."""
        # Without pairs `items` has one entry, which is no one's.
        return torch.bincount(self.items[: int(self.indptr[-1])], minlength=self.n_items)

    def uninteracted(self, users: Tensor) -> Tensor:
        """Return how many items user u has not interacted with: I - n_u."""
        return self.n_items - (self.indptr[users + 1] - self.indptr[users])

    def select(self, users: Tensor, rank: Tensor) -> Tensor:
        """Return the item of rank r, 0 <= r < I - n_u, among u's uninteracted items in id order.

        With positives p_0 < p_1 < ..., c = #{j : p_j - j <= r} of them lie before it, and the item
        is r + c.
        """
        start = self.indptr[users]
        count = self.search(users, lambda at: self.items[at] - (at - start) <= rank) - start
        return rank + count

    def search(self, users: Tensor, before: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the first place in each user's row where `before(place)` is false."""
        low, high = self.indptr[users], self.indptr[users + 1]
        last = len(self.items) - 1
        for _ in range(self.depth):
            middle = (low + high) >> 1
            go = before(middle.clamp(max=last)) & (low < high)
            low, high = torch.where(go, middle + 1, low), torch.where(go, high, middle)
        return low

    def of(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """List all train items of distinct users, one user after another, in C places.

        On a CUDA device C is the same at every step, so that the host need not wait for the device:
        it is the sum of the B longest rows. On a CPU it is what the step needs, on ML-1M a fifth of
        that.

        Shape:
            users: [T, B] -> items, owner (the user's place in the batch), inside (whether the place
            is filled), each [T, C].
        """
        start = self.indptr[users]
        ends = (self.indptr[users + 1] - start).cumsum(1)
        C = int(self.longest[: users.shape[1]].sum()) if users.is_cuda else int(ends[:, -1].max())
        place = torch.arange(C, device=users.device).expand(len(users), C).contiguous()
        owner = torch.searchsorted(ends, place, right=True)
        inside = owner < users.shape[1]
        owner = owner.clamp(max=users.shape[1] - 1)
        at = (self.indptr[users + 1] - ends).gather(1, owner) + place
        return self.items[at.clamp(max=len(self.items) - 1)], owner, inside

    def padded(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """List the train items of each user in as many places as the longest row has.

        That is the longest of these users' or, on a CUDA device, as in `of`, of all.

        Shape:
            users: [...] -> items, inside (whether the place is filled), each [..., places].
        """
        start, stop = self.indptr[users][..., None], self.indptr[users + 1][..., None]
        places = self.most if users.is_cuda else int((stop - start).max())
        at = start + torch.arange(places, device=users.device)
        return self.items[at.clamp(max=len(self.items) - 1)], at < stop


# Draws over all items before rank-select, whose binary search costs as much as several of them.
ATTEMPTS = 2


def draw_pool(
    positives: Positives, users: Tensor, M: int, streams: Streams, counter: int | Tensor
) -> Tensor:
    """Draw M candidates for each user, independent and uniform over the user's uninteracted items.

    Draw from all items. Where that hits a train item, draw from all items again. Where that hits
    one too, draw by rank-select, which never fails. With n of I items interacted, rank-select gives
    each of the others with probability q = 1 / (I - n), and every draw over all items before it
    leaves that as it is: 1/I + (n/I) q = q. So the pool is exact for any density, at a fixed cost.
    Candidates may repeat; held-out items can be drawn, as in every published code.

    Shape:
        users: [T, B] -> [T, B, M] int64. Uses the outputs counter .. counter + B*M - 1 of each
        trial's stream.
    """
    if M == 0:
        return users.new_empty(*users.shape, 0)
    if positives.engine is Engine.NUMBA:
        return cpu.draw_pool(
            users, M, streams.keys, int(counter), positives.rows, positives.n_items, ATTEMPTS
        )
    if positives.engine is Engine.CUDA:
        return compiled(_draw_everywhere)(positives, users, M, streams, counter)
    bits = streams.bits(counter, users.shape[1], M)
    items = to_below(bits, positives.n_items, positives.scale)
    owner = users[..., None].expand_as(items)
    where = positives.contains(owner, items).nonzero(as_tuple=True)
    for attempt in range(1, ATTEMPTS + 1):
        items[where] = _redraw(positives, owner[where], bits[where], attempt)
        if attempt < ATTEMPTS:
            hit = positives.contains(owner[where], items[where])
            where = tuple(index[hit] for index in where)
    return items


def draw_positives(
    positives: Positives, users: Tensor, N: int, streams: Streams, counter: int | Tensor
) -> Tensor:
    """Draw N train items of each user, independent and uniform; every user must have one.

    Shape:
        users: [T, B] -> [T, B, N] int64. Uses the outputs counter .. counter + B*N - 1 of each
        trial's stream.
    """
    return positives.items[draw_places(positives, users, N, streams, counter)]


def draw_places(
    positives: Positives, users: Tensor, N: int, streams: Streams, counter: int | Tensor
) -> Tensor:
    """Draw the places of N train pairs of each user, as `draw_positives` does.

    Shape:
        users: [T, B] -> [T, B, N] int64, places in `positives.items`.
    """
    start, stop = positives.indptr[users], positives.indptr[users + 1]
    rank = to_below(
        streams.bits(counter, users.shape[1], N), (stop - start)[..., None], positives.scale
    )
    return start[..., None] + rank


def _draw_everywhere(
    positives: Positives, users: Tensor, M: int, streams: Streams, counter: int | Tensor
) -> Tensor:
    """Draw the same items as `draw_pool` without the host reading any data.

    Redraw every candidate, and keep the new one where it is needed.
    """
    bits = streams.bits(counter, users.shape[1], M)
    items = to_below(bits, positives.n_items, positives.scale)
    owner = users[..., None].expand_as(items)
    hit = positives.contains(owner, items)
    for attempt in range(1, ATTEMPTS + 1):
        items = torch.where(hit, _redraw(positives, owner, bits, attempt), items)
        hit = hit & positives.contains(owner, items)
    return items


def _redraw(positives: Positives, users: Tensor, bits: Tensor, attempt: int) -> Tensor:
    """Draw anew from the words of the first draw, on the last attempt by rank-select."""
    for _ in range(attempt):
        bits = mix(bits + GAMMA)
    if attempt < ATTEMPTS:
        return to_below(bits, positives.n_items, positives.scale)
    return positives.select(users, to_below(bits, positives.uninteracted(users), positives.scale))
