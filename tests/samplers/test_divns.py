import math

import numpy as np
import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.kernels import Engine
from hapens_bench.launch.validate import check
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers import divns
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.divns import EMPTY, DivNS
from hapens_bench.samplers.pool import Positives, draw_pool
from tests.conftest import make_config

U, I, D, M, R = 7, 30, 4, 6, 3
LAM = (0.7, 0.4)
T = len(LAM)
# User 5 has no train item; user 6 has so many that her cache has fewer distinct items.
PAIRS = np.array(
    [(u, (3 * u + k) % I) for u in range(5) for k in range(u + 1)] + [(6, i) for i in range(26)]
)


def vectors(step, engine=Engine.PLAIN, layers=0):
    generator = torch.Generator().manual_seed(step)

    def tables():
        return tuple(torch.randn(T, n, D, generator=generator) for n in (U, I))

    if not layers:
        return Encoded(*tables(), engine)
    each = tuple(tables() for _ in range(layers))
    pooled = [torch.stack(kind).mean(0) for kind in zip(*each)]
    return Encoded(*pooled, engine, each)


def make(select, engine=Engine.PLAIN, lam=LAM):
    sampler = DivNS(M, R, torch.tensor(lam).view(-1, 1, 1), select, len(PAIRS))
    sampler.allocate(vectors(0))
    train = Positives(PAIRS, U, I, engine=engine)
    sampler.observe(train)
    return sampler, train


class Slow:
    """DivNS for one trial, in plain Python: caches, hard negatives and what is selected of them."""

    def __init__(self, t, select):
        self.t, self.select, self.diverse, self.sure = t, select, {}, {}
        self.cache, self.hard = {}, {}

    def visit(self, encoded, u, pool):
        query, table = encoded.users[self.t, u].double(), encoded.items[self.t].double()
        hardest = sorted(pool, key=lambda j: -float(query @ table[j]))
        self.hard.setdefault(u, []).append(hardest[0])
        self.cache.setdefault(u, []).extend(hardest[1 : R + 1])
        return hardest[0]

    def cosine(self, encoded, a, b):
        x, y = (encoded.items[self.t, j].double() for j in (a, b))
        return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))

    def end_epoch(self, encoded):
        self.diverse, self.sure = {}, {}
        for u, hard in self.hard.items():
            left, wanted = sorted(set(self.cache[u])), int((PAIRS[:, 0] == u).sum())
            taken, against = [], list(hard)
            while left and len(taken) < wanted:
                nearness = {c: [self.cosine(encoded, c, h) for h in against] for c in left}
                farthest = min if self.select == "dissimilar" else max
                taken.append(min(left, key=lambda c: farthest(nearness[c])))
                # Items that are hard negatives are all alike to a greedy selection: their order is
                # that of rounding.
                if farthest(nearness[taken[-1]]) < 1 - 1e-6:
                    self.sure[u] = len(taken)
                left.remove(taken[-1])
                against += [taken[-1]] if self.select == "greedy" else []
            self.diverse[u] = taken
        self.cache, self.hard = {}, {}


def epoch_of(epoch, rows):
    """Return the places of an epoch's pairs, in another order for each trial, [T, rows]."""
    generator = torch.Generator().manual_seed(100 + epoch)
    return torch.stack([torch.randperm(len(PAIRS), generator=generator)[:rows] for _ in range(T)])


@pytest.mark.parametrize("block", [divns.BLOCK, 40, 1])
@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("select", ["dissimilar", "greedy"])
def test_over_several_epochs_it_equals_the_slow_reference(select, engine, block, monkeypatch):
    monkeypatch.setattr(divns, "BLOCK", block)
    sampler, train = make(select, engine)
    slow = [Slow(t, select) for t in range(T)]
    pools, streams = Streams([1, 2], Purpose.POOL), Streams([1, 2], Purpose.SAMPLER)
    step, B, mixed, short, certain = 0, 8, 0, 0, 0
    for epoch in range(4):
        # The rest of the pairs is not visited, as with `drop_last`.
        for places in epoch_of(epoch, 4 * B).split(B, dim=1):
            encoded = vectors(step, engine)
            pairs = torch.from_numpy(PAIRS)[places]
            users, items = pairs.unbind(-1)
            batch = Batch(users, items, torch.tensor(epoch), torch.tensor(step), 4)
            pool = draw_pool(train, users, M, pools, step * B * M)
            drawn = sampler.draw(batch, encoded, pool, streams)
            for t, reference in enumerate(slow):
                for b, u in enumerate(users[t].tolist()):
                    j = reference.visit(encoded, u, pool[t, b].tolist())
                    assert int(drawn.items[t, b, 0]) == j
                    known = reference.diverse.get(u) or [j]
                    short += u == 6 and len(known) < 26
                    table = encoded.items[t].double()
                    candidates = [LAM[t] * table[j] + (1 - LAM[t]) * table[d] for d in known]
                    gaps = [float((drawn.layers[t, b, 0, 0] - x).abs().max()) for x in candidates]
                    assert min(gaps) < 1e-5
                    mixed += known != [j]
            step += 1
        sampler.close_epoch(epoch, vectors(step, engine))
        for t, reference in enumerate(slow):
            reference.end_epoch(vectors(step))
            for u in range(U):
                start, stop = train.indptr[u : u + 2].tolist()
                mine = sampler.diverse[t, start:stop].tolist()
                theirs = reference.diverse.get(u, [EMPTY])  # of a user who was not visited
                sure, n = reference.sure.get(u, 0), len(theirs)
                assert mine[:sure] == theirs[:sure]
                assert stop == start or sorted(mine[:n]) == sorted(theirs)
                assert mine == [mine[k % n] for k in range(stop - start)]
                certain += sure
        assert (sampler.top == EMPTY).all()
    assert mixed > 100 and short > 50 and certain > 60


@pytest.mark.parametrize("select", ["dissimilar", "greedy"])
def test_every_selected_item_is_drawn_alike(select):
    sampler, _ = make(select)
    n, u = 30_000, 4
    start, stop = sampler.train_items.indptr[u : u + 2].tolist()
    sampler.diverse[:, start:stop] = torch.arange(10, 15)
    users = torch.full((T, n), u)
    zero = torch.tensor(0)
    batch = Batch(users, torch.full((T, n), int(PAIRS[start, 1])), zero, zero, 1)
    pool = torch.full((T, n, M), 20)
    encoded = vectors(0)
    layers = sampler.draw(batch, encoded, pool, Streams([1, 2], Purpose.SAMPLER)).layers
    for t, lam in enumerate(LAM):
        each = lam * encoded.items[t, 20] + (1 - lam) * encoded.items[t, 10:15]
        counts = torch.bincount(torch.cdist(layers[t, :, 0, 0], each).argmin(-1), minlength=5)
        assert counts.sum() == n and ((counts - n / 5).square() / (n / 5)).sum() < 18.5  # p = 1e-3


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_the_same_two_items_are_mixed_in_every_layer(engine):
    sampler, train = make("dissimilar", engine)
    generator = torch.Generator().manual_seed(7)
    sampler.diverse[:] = torch.randint(0, I, (T, len(PAIRS)), generator=generator).int()
    encoded = vectors(3, engine, layers=3)
    users, items = torch.from_numpy(PAIRS).expand(T, -1, -1).unbind(-1)
    batch = Batch(users, items, torch.tensor(1), torch.tensor(2), 4)
    pool = draw_pool(train, users, M, Streams([1, 2], Purpose.POOL), 0)
    drawn = sampler.draw(batch, encoded, pool, Streams([1, 2], Purpose.SAMPLER))
    assert drawn.layers.shape == (T, len(PAIRS), 1, 3, D)
    for t, lam in enumerate(LAM):
        for b, (u, _) in enumerate(PAIRS.tolist()):
            pooled = encoded.items[t] @ encoded.users[t, u]
            j = max(pool[t, b].tolist(), key=lambda k: float(pooled[k]))
            assert int(drawn.items[t, b, 0]) == j
            start, stop = train.indptr[u : u + 2].tolist()
            tables = torch.stack([layer[1][t] for layer in encoded.layers])
            mixes = [lam * tables[:, j] + (1 - lam) * tables[:, d] for d in sampler.diverse[t]]
            fits = [torch.allclose(drawn.layers[t, b, 0], x, atol=1e-5) for x in mixes]
            assert any(fits[start:stop])


def test_the_gradient_reaches_both_items():
    sampler, _ = make("dissimilar", lam=(0.7, 0.7))
    sampler.diverse[:] = 29
    users, item = torch.zeros(T, 1, dtype=torch.int64), torch.full((T, 1), int(PAIRS[0, 1]))
    zero = torch.tensor(0)
    encoded = vectors(0)
    encoded.items.requires_grad_()
    pool = torch.full((T, 1, M), 11)
    batch = Batch(users, item, zero, zero, 1)
    sampler.draw(batch, encoded, pool, Streams([1, 2], Purpose.SAMPLER)).layers.sum().backward()
    expected = torch.zeros(T, I, D)
    expected[:, 11], expected[:, 29] = 0.7, 0.3
    assert torch.allclose(encoded.items.grad, expected)


def test_the_cache_must_fit_beside_the_hardest():
    with pytest.raises(UserError, match=r"sampler\.r is 6, but it must be below sampler\.M, 6"):
        check(make_config("sampler=divns", "sampler.M=6", "sampler.r=6"))
