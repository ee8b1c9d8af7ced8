"""The median stopping rule, and a trial that it ends."""

import pytest

from hapens_bench.training.trial import curve, first_below
from hapens_bench.tune.pruning import median_floor


def rows(*values):
    """A history that is evaluated every second epoch."""
    found = []
    for k, value in enumerate(values):
        found.append({"stage": "held", "epoch": 2 * k, "evaluated": True, "valid/R": value})
        found.append({"stage": "held", "epoch": 2 * k + 1, "evaluated": False})
    return found


def test_the_floor_is_the_median_and_ended_trials_keep_their_last_value():
    curves = [{0: 0.1, 2: 0.4, 4: 0.4}, {0: 0.2, 2: 0.2}, {0: 0.0, 2: 0.3, 4: 0.9, 6: 0.9}]
    assert median_floor(curves, 0) == {0: 0.1, 2: 0.3, 4: 0.4, 6: 0.4}
    assert median_floor(curves, 3) == {4: 0.4, 6: 0.4}
    assert median_floor(curves[:2], 0)[2] == pytest.approx(0.3)


def test_a_curve_is_the_best_so_far_of_the_validation_epochs():
    history = [
        *rows(0.1, 0.3, 0.2),
        {"stage": "full", "epoch": 9, "evaluated": True, "test/R": 1.0},
    ]
    assert curve(history, "R") == {0: 0.1, 2: 0.3, 4: 0.3}


def test_a_trial_is_below_where_its_best_so_far_is_and_a_tie_goes_on():
    history = rows(0.1, 0.3, 0.2, 0.25)
    assert first_below(history, "R", {}) is None
    assert first_below(history, "R", {0: 0.1, 2: 0.3, 4: 0.3}) is None
    assert first_below(history, "R", {4: 0.31, 6: 0.5}) == (4, 0.3)
    assert first_below(history, "R", {3: 9.0}) is None, "only where it was evaluated"
