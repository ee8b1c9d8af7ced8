"""HAPENS (our reading): the laws of its readings, and the levels on their way into a pack."""

import numpy as np
import pytest
import torch
from scipy import stats

from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, place_by
from hapens_bench.samplers.hapens import HAPENS, weights_of_mean
from hapens_bench.training.build import build_sampler
from tests.conftest import make_config

n, ITEMS, ZERO = 64, 1_000_003, torch.tensor(0)


def section(*overrides):
    return make_config("sampler=hapens", *overrides)["sampler"]


def build(level, *overrides):
    """Build the sampler of one trial whose users all have the same level."""
    return build_sampler(
        [section(*overrides)],
        [7],
        1,
        1,
        1,
        [{"min": np.array([level]), "probability": np.array([level])}],
    )


def percentiles(sampler, draws=40_000, seed=7):
    """Return the percentiles of items drawn from fresh pools.

    An item's id is its rank among all items.
    """
    pool = Streams([seed], Purpose.POOL).bits(0, draws, sampler.pool_size) % ITEMS
    encoded = Encoded(
        torch.ones(1, 1, 1), torch.linspace(0, 1, ITEMS, dtype=torch.float64).view(1, -1, 1).float()
    )
    zeros = torch.zeros(1, draws, dtype=torch.int64)
    items = sampler.draw(
        Batch(zeros, zeros, ZERO, ZERO, 1), encoded, pool, Streams([seed], Purpose.SAMPLER)
    ).items
    return (items.flatten().numpy() + 0.5) / ITEMS


@pytest.mark.parametrize("M", [1, 1.3, 1.5, 2, 3.7, 8, 20.5, 40.25, 64])
@pytest.mark.parametrize("reading", ["A", "F"])
def test_the_percentile_of_the_pick_is_beta_for_whole_and_fractional_m(M, reading):
    drawn = percentiles(build(M / (M + 1), f"sampler.reading={reading}"))
    assert stats.kstest(drawn, stats.beta(M, 1).cdf).pvalue > 1e-3
    assert stats.kstest(drawn, stats.beta(1.1 * M, 1).cdf).pvalue < 1e-3, (
        "the test can tell M from 1.1 M"
    )


@pytest.mark.parametrize("M", [1, 5, 64])
def test_the_same_level_for_all_users_is_rns_or_dns(M):
    hapens = percentiles(build(M / (M + 1)))
    dns = percentiles(
        build_sampler([make_config("sampler=dns", f"sampler.M={M}")["sampler"]], [7], 1, 1, 1),
        seed=8,
    )
    assert stats.ks_2samp(hapens, dns).pvalue > 1e-3
    if M == 64:
        hardest = percentiles(
            build_sampler([make_config("sampler=dns", "sampler.M=64")["sampler"]], [7], 1, 1, 1)
        )
        assert np.array_equal(hapens, hardest)
    assert np.array_equal(hapens, percentiles(build(0.1, f"sampler.M={M}"))), (
        "sampler.M is that level"
    )


@pytest.mark.parametrize(("level", "M"), [(0.0, 1), (0.3, 1), (0.9, 9), (0.999, 64), (1.0, 64)])
def test_m_stays_within_its_bounds(level, M):
    assert stats.kstest(percentiles(build(level)), stats.beta(M, 1).cdf).pvalue > 1e-3


def test_the_control_of_the_sign_has_the_opposite_levels():
    assert np.array_equal(percentiles(build(0.9)), percentiles(build(0.1, "sampler.reading=E")))


def test_reading_b_draws_by_a_softmax_whose_mean_percentile_is_the_level():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(500, n, generator=generator).sort(-1, descending=True).values * 0.01
    percentile = (n - 0.5 - torch.arange(n)) / n
    for h in (0.55, 0.8, 0.95, 0.98):
        w = weights_of_mean(scores, torch.full((500, 1), h))
        assert torch.allclose((w * percentile).sum(-1), torch.tensor(h), atol=1e-3)
        # ln w is linear in the score: one tau per row.
        slope = w.log().diff(dim=-1) / scores.diff(dim=-1)
        seen = w[:, 1:] > 1e-6
        spread = torch.where(seen, slope - slope[:, :1], 0).abs().amax(-1) / slope[:, 0]
        assert (slope[:, 0] > 0).all() and float(spread.median()) < 0.02
    assert torch.allclose(
        weights_of_mean(scores, torch.full((500, 1), 0.3)), torch.tensor(1 / n), atol=1e-4
    )
    same = weights_of_mean(torch.zeros(2, n), torch.full((2, 1), 0.9))
    assert torch.allclose(same, torch.tensor(1 / n)), "equal scores have equal weights"
    w = weights_of_mean(scores[:1], torch.tensor([[0.8]])).expand(30_000, n)
    places = place_by(w, torch.rand(30_000, generator=generator))
    expected = 30_000 * w[0].double().numpy()
    keep = expected > 5
    seen = np.bincount(places, minlength=n)[keep]
    assert stats.chisquare(seen, expected[keep] * seen.sum() / expected[keep].sum()).pvalue > 1e-3
    drawn = percentiles(build(0.8, "sampler.reading=B"))
    assert abs(drawn.mean() - 0.8) < 0.01


def test_reading_c_stays_below_the_cap_and_takes_the_hardest_there():
    for h, cap in ((0.25, 4), (0.5, 8), (0.9, 8)):
        drawn = percentiles(build(h, "sampler.reading=C", f"sampler.M_cap={cap}"))
        assert abs(drawn.mean() - h * cap / (cap + 1)) < 0.02
        uniform = percentiles(build(h, "sampler.reading=C", "sampler.M_cap=1"))
        assert abs(uniform.mean() - h / 2) < 0.02 and (uniform > h + 0.25).mean() < 1e-3


def test_reading_d_takes_the_candidate_at_the_level():
    for h in (0.0, 0.2, 0.85, 1.0):
        drawn = percentiles(build(h, "sampler.reading=D"))
        k = min(int(h * n), n - 1) + 1  # of n, ascending
        assert stats.kstest(drawn, stats.beta(k, n + 1 - k).cdf).pvalue > 1e-3


def test_shuffled_levels_are_the_same_levels_for_other_users():
    h = np.random.default_rng(0).random(500)
    h[::7] = np.nan  # users without train items

    def levels(seed, *overrides):
        return HAPENS.inherited(section(*overrides), seed, {"min": h.copy(), "q10": 1 - h}).numpy()

    plain, shuffled = levels(1), levels(1, "sampler.shuffle=true")
    other = levels(2, "sampler.shuffle=true")
    assert np.array_equal(plain[~np.isnan(h)], h[~np.isnan(h)]) and (plain[::7] == 0.5).all()
    assert np.array_equal(np.sort(plain), np.sort(shuffled)) and (shuffled[::7] == 0.5).all()
    assert abs(stats.spearmanr(plain, shuffled).statistic) < 0.15
    assert not np.array_equal(shuffled, other)
    assert np.array_equal(shuffled, levels(1, "sampler.shuffle=true"))
    assert np.array_equal(np.isnan(h), levels(1, "sampler.level=q10") == 0.5)
    assert np.array_equal(levels(1, "sampler.reading=E")[1], 1 - h[1])


def test_levels_shuffled_by_activity_stay_among_users_with_as_many_items():
    random = np.random.default_rng(0)
    count = random.integers(0, 6, 600)
    h = np.where(count == 0, np.nan, random.random(600))

    def levels(seed, shuffle):
        return HAPENS.inherited(
            section(f"sampler.shuffle={shuffle}"), seed, {"min": h.copy(), "count": count}
        ).numpy()

    plain, within, other = levels(1, "false"), levels(1, "activity"), levels(2, "activity")
    for size in range(6):
        users = count == size
        assert np.array_equal(np.sort(plain[users]), np.sort(within[users]))
        assert size == 0 or abs(stats.spearmanr(plain[users], within[users]).statistic) < 0.35
    assert np.mean(plain[count > 0] == within[count > 0]) < 0.05 and not np.array_equal(
        within, other
    )
    assert np.array_equal(within, levels(1, "activity"))


def test_reading_b_has_its_own_level():
    artefact = {"min": np.array([0.2]), "probability": np.array([0.7]), "q10": np.array([0.4])}
    for reading, level, expected in (
        ("A", "null", 0.2),
        ("B", "null", 0.7),
        ("B", "min", 0.2),
        ("D", "q10", 0.4),
    ):
        keys = section(f"sampler.reading={reading}", f"sampler.level={level}")
        assert float(HAPENS.inherited(keys, 0, artefact)) == expected


def test_trials_with_one_level_for_all_share_a_pack_with_personal_levels():
    sections = [section("sampler.M=3"), section()]
    sampler = build_sampler(
        sections, [1, 2], 1, 3, 1, [None, {"min": np.array([0.1, 0.6, np.nan])}]
    )
    assert sampler.levels.tolist() == [[0.75] * 3, [0.1, 0.6, 0.5]]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sampler.M=65"], "sampler.M is 65, but it may be at most sampler.M_max, 64"),
        (["sampler.M=4", "sampler.shuffle=true"], "with sampler.M they all have the same"),
        (
            ["sampler.shuffle=popularity"],
            "sampler.shuffle is 'popularity', but it takes one of true, false, activity",
        ),
        (["sampler.reading=G"], "it takes one of A, B, C, D, E, F"),
        (
            ["sampler.first.plain=null"],
            "sampler.first.plain is None, but it takes the sections sampler, loss and trainer",
        ),
        (["sampler.first=3"], "sampler.first is 3, but it takes a section"),
    ],
)
def test_mistakes_are_reported_in_one_sentence(overrides, message):
    with pytest.raises(UserError) as caught:
        check(make_config("sampler=hapens", *overrides))
    assert message in str(caught.value) and "\n" not in str(caught.value)
