"""Would more tuning of the baseline have closed the gap? Planted values with known answers."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from hapens_bench.tune.budget_curves import AS_RUN, budget_curve, budget_curves
from hapens_bench.tune.gaps import answers, gaps, last_quarter


def frame_of(**values):
    rows = [
        {"dataset": "d", "sampler": name, "value": v}
        for name, found in values.items()
        for v in found
    ]
    return pd.DataFrame(rows)


def pairs_of(in_order=False, **values):
    frame = frame_of(**values)
    return gaps(frame, budget_curves(frame, in_order), in_order)


def one(pairs, baseline, method):
    return pairs[(pairs["baseline"] == baseline) & (pairs["method"] == method)].set_index("n")


def test_budget_curve_is_the_mean_over_all_subsets():
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    curve = budget_curve(values).set_index("n")
    for n in range(1, 6):
        bests = [max(subset) for subset in combinations(values, n)]
        assert curve.loc[n, "expected"] == pytest.approx(np.mean(bests))
        assert curve.loc[n, "low"] <= np.mean(bests) <= curve.loc[n, "high"]
    assert curve.loc[5, ["low", "high"]].tolist() == [5.0, 5.0]


def test_trials_that_follow_from_each_other_are_drawn_as_they_were_run():
    curve = budget_curves(frame_of(a=[1.0, 3.0, np.nan, 2.0]), in_order=True)
    assert curve["expected"].tolist() == [1, 3, 3, 3] and curve[["low", "high"]].isna().all(
        axis=None
    )
    assert set(curve["order"]) == {AS_RUN}
    assert budget_curve([1.0, np.nan])["expected"].tolist() == [0.5, 1.0], (
        "a failed trial has found nothing"
    )


def test_a_baseline_that_reaches_the_method_is_told_when():
    pairs = pairs_of(True, rns=[0.1, 0.2, 0.3, 0.4], dns=[0.2, 0.2, 0.3, 0.3])
    assert one(pairs, "rns", "dns")["reached_at"].tolist() == [2, 2, 3, 3]
    assert one(pairs, "rns", "dns")["gap"].tolist() == pytest.approx([0.1, 0, 0, -0.1])
    assert one(pairs, "dns", "rns")["reached_at"].fillna(0).tolist() == [1, 1, 3, 0]
    (told,) = answers(pairs, "rns", "Recall@20")
    assert "dns 30.00, rns 40.00" in told and told.endswith("There is no gap for rns to close.")


def test_a_flat_curve_and_a_rising_one_are_told_apart():
    flat = pairs_of(True, rns=[0.1, 0.2, 0.2, 0.2], dns=[0.2, 0.3, 0.4, 0.5])
    (told,) = answers(flat, "rns", "Recall@20")
    assert (
        "gap +30.00." in told
        and "rns does not reach 50.00 within its 4 trials (they are worth 1 of dns's)" in told
    )
    assert (
        "its last trial brought it nothing, "
        "so nothing here says that more tuning would close the gap" in told
    )
    rising = pairs_of(True, rns=[0.1, 0.1, 0.1, 0.15], dns=[0.2, 0.3, 0.4, 0.5])
    (told,) = answers(rising, "rns", "Recall@20")
    assert (
        "(one trial of dns is worth more); its last trial brought it +5.00, so it still rises"
        in told
    )
    assert one(rising, "rns", "dns")["baseline_rise"].tolist() == pytest.approx([0.05] * 4)
    assert [last_quarter(N) for N in (1, 4, 5, 8, 16)] == [1, 1, 2, 2, 4]


def test_the_interval_is_that_of_all_draws_with_replacement():
    a, b = [0.1, 0.5, 0.2], [0.4, 0.3, 0.9]
    found = one(pairs_of(a=a, b=b), "a", "b")

    def curves(values):
        return np.array([budget_curve(draw)["expected"] for draw in product(values, repeat=3)])

    every = (curves(b)[None] - curves(a)[:, None]).reshape(-1, 3)
    for end, share in (
        ("low", 0.025),
        ("high", 0.975),
    ):  # of a law with few values: a quantile is where it passes the share
        x = found[end].to_numpy()
        assert ((every < x - 1e-9).mean(axis=0) <= share + 0.015).all()
        assert ((every <= x + 1e-9).mean(axis=0) >= share - 0.015).all()
    assert (found["low"] < found["gap"]).all() and found["gap"].iloc[-1] == pytest.approx(0.4)
    assert pairs_of(True, a=a, b=b)[["low", "high"]].isna().all(axis=None)


def test_an_interval_does_not_change_with_who_else_was_tuned():
    two = one(pairs_of(a=[1, 2, 3], b=[2, 3, 4]), "a", "b")
    three = one(pairs_of(c=[5, 5, 6], a=[1, 2, 3], b=[2, 3, 4]), "a", "b")
    pd.testing.assert_frame_equal(two, three)


def test_a_sampler_alone_is_compared_with_nobody():
    pairs = pairs_of(rns=[0.1, 0.2])
    assert pairs.empty and answers(pairs, "rns", "Recall@20") == []
    (told,) = answers(pairs_of(rns=[0.1], dns=[0.2]), "rns", "Recall@20")
    assert told.endswith("one trial says nothing of more.")
