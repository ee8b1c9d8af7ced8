import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hapens_bench.analysis.statistics import (
    friedman,
    holm,
    over_seeds,
    over_users,
    over_users_together,
)


def test_over_seeds_equals_scipy():
    a, b = np.array([5.1, 5.4, 5.0, 5.6, 5.3]), np.array([4.9, 5.0, 5.1, 5.2, 4.8])
    found = over_seeds(dict(enumerate(a)), dict(enumerate(b)))
    t = stats.ttest_rel(a, b)
    interval = t.confidence_interval()
    assert found.p == pytest.approx(t.pvalue) and found.difference == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.p_least == 2**-4


def test_only_seeds_that_both_have_are_compared():
    found = over_seeds({0: 1.0, 1: 2.0, 7: 100.0}, {0: 0.5, 1: 1.0, 9: -100.0})
    assert found.n == 2 and found.difference == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ({0: 1.0}, {0: 2.0}, "n = 1 seeds: no test"),
        ({0: 1.0}, {1: 2.0}, "n = 0 seeds: no test"),
        ({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, "the same difference for all seeds: no test"),
        ({0: 1.0, 1: float("nan")}, {0: 1.0, 1: 1.0}, "a value is missing: no test"),
    ],
)
def test_what_cannot_be_tested_is_said_in_words(a, b, words):
    found = over_seeds(a, b)
    assert found.words == words and np.isnan(found.p)


def test_over_users_agrees_with_scipys_permutation_test():
    rng = np.random.default_rng(1)
    a, b = (pd.Series(rng.random(40) + shift) for shift in (0.17, 0.0))
    found = over_users(a, b)
    exact = stats.permutation_test(
        ((a - b).to_numpy(),),
        lambda x, axis: x.mean(axis),
        permutation_type="samples",
        vectorized=True,
        rng=3,
    )
    assert found.p == pytest.approx(exact.pvalue, abs=0.02) and 0.001 < found.p < 0.3
    assert found.n == 40 and found.low < found.difference < found.high


def test_over_users_refuses_different_users():
    with pytest.raises(ValueError, match="different users"):
        over_users(pd.Series([1.0, 2.0], index=[0, 1]), pd.Series([1.0, 2.0], index=[0, 2]))


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    adjusted = holm([0.02, float("nan"), 0.01])
    assert (
        adjusted[0] == pytest.approx(0.02)
        and np.isnan(adjusted[1])
        and adjusted[2] == pytest.approx(0.02)
    )


@pytest.mark.parametrize("over", ["seeds", "users"])
def test_under_the_null_few_families_have_a_finding(over):
    """Of 1,000 null families of four comparisons at most 6% may have an adjusted p below 5%."""
    rng = np.random.default_rng(0)
    families, found = 1000, 0
    for k in range(families):
        size = 5 if over == "seeds" else 60
        ours, *others = rng.normal(size=(5, size))
        if over == "seeds":
            p = [over_seeds(dict(enumerate(ours)), dict(enumerate(o))).p for o in others]
        else:
            p = [over_users(pd.Series(ours), pd.Series(o), seed=k).p for o in others]
        found += min(holm(p)) < 0.05
    assert found <= 0.06 * families


def test_friedman_equals_scipy_and_demsars_example():
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(
        rng.random((14, 4)) + np.array([0.6, 0.3, 0.0, 0.0]), columns=list("abcd")
    )
    found = friedman(scores)
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores.to_numpy().T).pvalue)
    assert found.mean.sum() == pytest.approx(10) and found.mean.index[0] == "a"
    assert found.critical == pytest.approx(
        1.25, abs=0.01
    )  # Demsar (2006): k = 4, N = 14 gives q = 2.569 and CD = 1.25


def test_cliques_are_the_largest_groups_within_the_critical_difference():
    scores = pd.DataFrame(
        {
            "a": [9.0] * 20,
            "b": [8.0] * 10 + [7.0] * 10,
            "c": [7.0] * 10 + [8.0] * 10,
            "d": [1.0] * 20,
        }
    )
    found = friedman(scores)
    assert found.mean.to_dict() == {"a": 1.0, "b": 2.5, "c": 2.5, "d": 4.0}
    assert found.critical == pytest.approx(1.05, abs=0.01) and found.cliques() == [["b", "c"]]
    assert friedman(scores.head(6)).cliques() == [["a", "b"], ["b", "c"], ["c", "d"]]


def test_ranks_without_a_test_say_why():
    assert (
        "2 methods on 3 data sets: no test"
        in friedman(pd.DataFrame({"a": [1, 2, 3], "b": [2, 1, 1]})).words
    )
    assert (
        "all methods are equal"
        in friedman(pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": [1, 2]})).words
    )
    gap = friedman(pd.DataFrame({"a": [1, 2, np.nan], "b": [2, 3, 1], "c": [3, 4, 0]}))
    assert gap.n == 2 and "2 data sets are few" in gap.words
    assert gap.mean.to_dict() == {"c": 1.0, "b": 2.0, "a": 3.0}


def test_pairs_tested_together_are_tested_as_alone():
    rng = np.random.default_rng(5)
    differences = rng.normal(0.02, 0.2, (400, 6)) * (rng.random((400, 6)) < 0.4)
    differences[:, 4] = 0.25
    differences[7, 5] = np.nan
    together = over_users_together(differences)
    alone = [over_users(pd.Series(column), pd.Series(np.zeros(400))) for column in differences.T]
    for one, same in zip(together, alone, strict=True):
        assert (one.n, one.words, one.p) == (
            400,
            same.words,
            pytest.approx(same.p, abs=0.02, nan_ok=True),
        )
    assert [one.words for one in together[4:]] == [
        "the same difference for all users: no test",
        "a value is missing: no test",
    ]
    assert (
        over_users_together(differences[:, :1])[0].p == alone[0].p
        and over_users_together(np.empty((3, 0))) == []
    )
