import numpy as np
import pytest

from hapens_bench.errors import UserError
from hapens_bench.launch.budget import settings, space_of

SHARED = {"trainer.l2": "tag(log, interval(1e-5, 1e-1))", "trainer.lr": "interval(0.001, 0.002)"}


def values(tried: list[list[str]], key: str) -> list[str]:
    return [dict(part.split("=") for part in setting)[key] for setting in tried]


def test_every_sampler_gets_as_many_settings_with_the_same_shared_values():
    dns = settings(SHARED, {"sampler.M": "4,8,16"}, 10, seed=0)
    rns = settings(SHARED, {}, 10, seed=0)
    assert len(dns) == len(rns) == 10
    for key in SHARED:
        assert values(dns, key) == values(rns, key)
    assert set(values(dns, "sampler.M")) == {"4", "8", "16"}


def test_a_larger_budget_begins_with_the_smaller_one():
    space = {"sampler.M": "4,8", "sampler.alpha": "interval(0,1)"}
    assert settings(SHARED, space, 20, seed=1)[:7] == settings(SHARED, space, 7, seed=1)
    assert settings(SHARED, space, 7, seed=1) != settings(SHARED, space, 7, seed=2)


def test_log_intervals_are_covered_evenly():
    exponents = np.log10([float(x) for x in values(settings(SHARED, {}, 16, seed=0), "trainer.l2")])
    assert exponents.min() >= -5 and exponents.max() <= -1
    counts, _ = np.histogram(exponents, bins=8, range=(-5, -1))
    assert counts.tolist() == [2] * 8  # base 2 of the Halton sequence
    lr = np.array([float(x) for x in values(settings(SHARED, {}, 64, seed=0), "trainer.lr")])
    assert lr.min() >= 0.001 and lr.max() <= 0.002 and abs(lr.mean() - 0.0015) < 5e-5


def test_the_grid():
    grid = settings({}, {"sampler.M": "4,8", "sampler.N": "range(16, 49, 16)"}, None, seed=0)
    assert grid == [[f"sampler.M={M}", f"sampler.N={N}"] for M in (4, 8) for N in (16, 32, 48)]
    assert settings({}, {}, None, seed=0) == [[]]


def test_values_that_are_no_numbers_stay_what_they_are():
    space = {"trainer.norm_cap": "null,0.5", "sampler.shared": "true,false", "sampler.kind": "a,b"}
    assert sorted(map(tuple, settings({}, space, None, seed=0)))[-1] == (
        "trainer.norm_cap=null",
        "sampler.shared=true",
        "sampler.kind=b",
    )


@pytest.mark.parametrize(
    ("space", "n", "words"),
    [
        ({"sampler.M": "interval(0,1)"}, None, "interval, which a grid cannot try"),
        ({"sampler.M": "tag(log, interval(0,1))"}, 3, "must begin above 0"),
        ({"sampler.M": "4"}, 3, "a list like 4,8,16"),
        ({"sampler.M": "choice("}, 3, "cannot be read"),
        ({"sampler.M": "4,8"}, 0, "at least 1 trial"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused(space, n, words):
    with pytest.raises(UserError, match=words):
        settings({}, space, n, seed=0)


def test_a_sampler_without_a_space_is_refused():
    assert space_of({"rns": {}}, "rns") == {}
    with pytest.raises(UserError, match=r"no space for dns; it has rns"):
        space_of({"rns": {}}, "dns")
