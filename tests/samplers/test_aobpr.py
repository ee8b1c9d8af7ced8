import numpy as np
import torch
from scipy import stats

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.aobpr import AOBPR
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives

I, D, B = 50, 3, 20_000


def scene(lam, spread="std", R=16, known=((0, 49),)):
    generator = torch.Generator().manual_seed(1)
    items = torch.randn(1, I, D, generator=generator) * torch.tensor([1.0, 3.0, 0.5])
    encoded = Encoded(torch.tensor([[[2.0, -0.5, 1.0]]]), items)
    sampler = AOBPR(torch.tensor([lam]).view(1, 1, 1), R, spread)
    sampler.allocate(encoded)
    sampler.start(Positives(np.array(known), 1, I))
    return sampler, encoded


def draw(sampler, encoded, step, n=B):
    zero = torch.zeros(1, n, dtype=torch.int64)
    batch = Batch(zero, zero, torch.tensor(0), torch.tensor(step), 1)
    return (
        sampler.draw(batch, encoded, torch.full((1, n, 1), 7), Streams([3], Purpose.SAMPLER))
        .items[0, :, 0]
        .numpy()
    )


def expected(encoded, lam, power, known):
    items, v = encoded.items[0].double().numpy(), encoded.users[0, 0].double().numpy()
    by_factor = np.abs(v) * items.std(0) ** power
    by_rank = np.exp(-np.arange(I) / (lam * I))
    p = np.zeros(I)
    for f, share in enumerate(by_factor / by_factor.sum()):
        p[np.argsort(-np.sign(v[f]) * items[:, f])] += share * by_rank / by_rank.sum()
    p[list(known)] = 0
    return p / p.sum()


def test_draws_follow_the_distribution_without_the_positives():
    for lam, spread in ((0.1, "std"), (0.3, "variance"), (50.0, "std")):
        known = (0, 11, 25)
        sampler, encoded = scene(lam, spread, known=[(0, j) for j in known])
        counts = np.bincount(draw(sampler, encoded, 0), minlength=I)
        p = expected(encoded, lam, {"std": 1, "variance": 2}[spread], known)
        likely = p * B > 5
        assert counts[list(known)].sum() == 0
        rest = [counts[~likely].sum()], [p[~likely].sum() * B]
        seen, wanted = np.append(counts[likely], rest[0]), np.append(p[likely] * B, rest[1])
        keep = wanted > 0
        assert stats.chisquare(seen[keep], wanted[keep]).pvalue > 1e-3


def test_where_all_draws_are_positives_the_uniform_candidate_is_taken():
    sampler, encoded = scene(1e-3, R=1)
    first = {
        int(column.argmax() if v > 0 else column.argmin())
        for column, v in zip(encoded.items[0].T, encoded.users[0, 0])
    }
    assert set(draw(sampler, encoded, 0)) == first
    sampler.start(Positives(np.array([(0, j) for j in first]), 1, I))
    assert set(draw(sampler, encoded, 0)) == {7}


def test_orders_are_renewed_every_i_ln_i_draws_only():
    sampler, encoded = scene(1e-3)
    turned = Encoded(encoded.users, -encoded.items)
    period = round(I * np.log(I) / 20)
    before, after = set(draw(sampler, encoded, 0, n=20)), set(draw(scene(1e-3)[0], turned, 0, n=20))
    assert before.isdisjoint(after)
    for step in range(1, period):
        assert set(draw(sampler, turned, step, n=20)) <= set(draw(scene(1e-3)[0], encoded, 0))
    assert set(draw(sampler, turned, period, n=20)) <= set(draw(scene(1e-3)[0], turned, 0))
