from hapens_bench.training.best_epoch import BestEpoch


def test_equal_counts_as_improvement_and_patience_runs_out():
    best = BestEpoch(patience=2)
    assert [best.update(e, v) for e, v in enumerate([0.1, 0.1, 0.05, 0.2, 0.1, 0.1])] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    assert (best.epoch, best.value, best.exhausted) == (3, 0.2, True)


def test_a_tracker_continues_from_its_state():
    best = BestEpoch(patience=3)
    best.update(0, 0.5)
    best.update(5, 0.4)
    again = BestEpoch(**best.state())
    assert again == best and not again.exhausted


def test_no_patience_never_stops():
    best = BestEpoch(patience=None)
    best.update(0, 1.0)
    for epoch in range(1, 100):
        best.update(epoch, 0.0)
    assert not best.exhausted
