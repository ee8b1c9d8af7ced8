import numpy as np
import pytest
import torch
from scipy import stats

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.gdns import GDNS, highest
from hapens_bench.samplers.pool import Positives, draw_pool

I, D, N, M = 50, 4, 4, 20


def per_trial(*values):
    return torch.tensor(values).view(-1, 1, 1)


def scene(U, alpha=(0.2,), reading="a", select="gain", scale=1.0, known=3):
    """Return a sampler for T trials and U users, each user with the items 0 .. known - 1."""
    generator, T = torch.Generator().manual_seed(1), len(alpha)
    tables = [scale * torch.randn(T, n, D, generator=generator) for n in (U, I)]
    sampler = GDNS(N, M, per_trial(*alpha), per_trial(*[1e-8] * T), reading, select)
    encoded = Encoded(*tables)
    sampler.allocate(encoded)
    positives = Positives(np.array([(u, i) for u in range(U) for i in range(known)]), U, I)
    sampler.start(positives)
    return sampler, encoded, positives


def visit(sampler, encoded, positives, step):
    """Draw for all users in one step."""
    T, U = encoded.users.shape[:2]
    users = torch.arange(U).expand(T, U)
    pool = draw_pool(positives, users, M, Streams(list(range(T)), Purpose.POOL), step * U * M)
    batch = Batch(users, users.new_empty(T, U, 0), torch.tensor(step), torch.tensor(step), 10)
    return sampler.draw(batch, encoded, pool, Streams(list(range(T)), Purpose.SAMPLER))


def test_selection_over_an_unvisited_pool_is_uniform_over_the_uninteracted_items():
    sampler, encoded, positives = scene(3000)
    counts = torch.bincount(visit(sampler, encoded, positives, 0).items.flatten(), minlength=I)
    assert counts[:3].sum() == 0 and counts.sum() == 3000 * N
    assert stats.chisquare(counts[3:]).pvalue > 1e-3


@pytest.mark.parametrize("select", ["gain", "hardness"])
def test_unvisited_items_come_first_and_selection_among_them_is_uniform(select):
    sampler, encoded, positives = scene(3000, select=select)
    for table in (sampler.H, sampler.G):
        table[..., :25] = 0.9
    items = visit(sampler, encoded, positives, 0).items
    enough = (items >= 25).all(-1)
    # About half of the 20 candidates are unvisited: nearly always at least four.
    assert enough.float().mean() > 0.95
    counts = torch.bincount(items[enough].flatten(), minlength=I)
    assert stats.chisquare(counts[25:]).pvalue > 1e-3


def test_the_highest_gains_are_chosen_and_ties_are_not_broken_by_id():
    sampler, encoded, positives = scene(3000)
    sampler.G[:] = torch.where(torch.arange(I) % 2 == 0, 0.75, 0.5)
    items = visit(sampler, encoded, positives, 0).items
    counts = torch.bincount(items.flatten(), minlength=I)[4::2]
    assert (items % 2 == 0).float().mean() > 0.98 and stats.chisquare(counts).pvalue > 1e-3
    sampler.H[:], sampler.select = torch.linspace(0, 0.9, I), "hardness"
    users, pool = torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[[7, 40, 9, 41, 8, 30]]])
    batch = Batch(users, users, torch.tensor(0), torch.tensor(0), 1)
    drawn = sampler.draw(batch, encoded, pool, Streams([0], Purpose.SAMPLER))
    assert sorted(drawn.items.flatten().tolist()) == [9, 30, 40, 41]


def test_the_highest_are_those_of_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(2, 30, 64, generator=generator) * 12).round().half() / 7
    order = values.float().argsort(dim=-1, descending=True, stable=True)[..., :9]
    assert torch.equal(highest(values, 9).sort(-1).values, order.sort(-1).values)


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_a_gain_is_below_one_after_any_update_and_one_before(scale):
    sampler, encoded, positives = scene(200, alpha=(0.0, 0.2, 0.9, 0.999), scale=scale)
    seen = torch.zeros_like(sampler.G, dtype=torch.bool)
    for step in range(30):
        drawn = visit(sampler, encoded, positives, step)
        seen.scatter_(2, drawn.items, True)
        assert (sampler.G[seen] < 1).all() and (sampler.G[~seen] == 1).all()
        assert (
            (sampler.H[~seen] == 1).all() and sampler.H.isfinite().all() and (sampler.H >= 0).all()
        )
    assert seen[..., 3:].float().mean() > 0.9 and not seen[..., :3].any()


def test_with_alpha_one_nothing_is_learnt():
    sampler, encoded, positives = scene(50, alpha=(1.0,))
    for step in range(5):
        visit(sampler, encoded, positives, step)
    assert (sampler.G == 1).all()


@pytest.mark.parametrize("reading", ["a", "b", "c"])
def test_what_is_remembered_equals_the_definitions_pair_by_pair(reading):
    alpha = (0.2, 0.7)
    sampler, encoded, positives = scene(6, alpha=alpha, reading=reading)
    U = encoded.users.shape[1]
    H, G = (np.ones((2, U, I), dtype=np.float64) for _ in range(2))
    for step in range(25):
        drawn = visit(sampler, encoded, positives, step)
        for t in range(2):
            for u in range(U):
                new = {}
                for j in drawn.items[t, u].tolist():
                    s_j = float(encoded.users[t, u] @ encoded.items[t, j])
                    scores = [
                        float(encoded.users[t, u] @ encoded.items[t, i])
                        for i in drawn.positives[t, u].tolist()
                    ]
                    sigma = [1 / (1 + np.exp(s_i - s_j)) for s_i in scores]
                    before = H[t, u, j]
                    h = {"a": np.mean(sigma), "b": np.sum(sigma), "c": before + sigma[-1]}[reading]
                    gain = 1 / (1 + np.exp(-(before - h) / (h + 1e-8)))
                    g = alpha[t] * G[t, u, j] + (1 - alpha[t]) * gain
                    new[j] = h, min(g, 1 - 2**-11)
                for j, (h, g) in new.items():
                    H[t, u, j], G[t, u, j] = np.float16(h), np.float16(g)
        assert np.allclose(sampler.H, H, rtol=2e-3) and np.allclose(sampler.G, G, atol=2e-3)


def test_the_first_gain_tells_the_readings_apart():
    # All scores are 0: H is 1/2, N/2 = 2 and 1 + 1/2.
    for reading, expected in (("a", 0.73), ("b", 0.38), ("c", 0.42)):
        sampler, encoded, positives = scene(20, alpha=(0.0,), reading=reading, scale=0.0)
        visited = visit(sampler, encoded, positives, 0).items
        assert sampler.G.gather(2, visited).float().mean() == pytest.approx(expected, abs=0.01)
    for step in range(1, 60):
        visit(sampler, encoded, positives, step)
    assert sampler.H[..., 3:].min() > 1.4 and sampler.G[..., 3:].max() < 0.5, (
        "under c every gain is negative"
    )


def test_fresh_takes_the_hardest_against_the_group_now():
    sampler, encoded, positives = scene(40, alpha=(0.2, 0.5), select="fresh", known=6)
    for step in range(3):
        sampler.H.uniform_(0, 1)  # what was stored plays no part
        T, U = 2, 40
        users = torch.arange(U).expand(T, U)
        pool = draw_pool(positives, users, M, Streams([0, 1], Purpose.POOL), step * U * M)
        drawn = visit(sampler, encoded, positives, step)
        for t in range(T):
            for u in range(U):
                s = encoded.items[t] @ encoded.users[t, u]
                group = s[drawn.positives[t, u]]
                hard = [torch.sigmoid(s[j] - group).mean().item() for j in pool[t, u]]
                chosen = [torch.sigmoid(s[j] - group).mean().item() for j in drawn.items[t, u]]
                assert sorted(chosen) == pytest.approx(sorted(hard)[-N:], abs=1e-6)
