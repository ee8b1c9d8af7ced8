import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.samplers.pool import Positives
from hapens_bench.training import user_hardness as module
from hapens_bench.training.user_hardness import user_hardness

U, I, D = 23, 31, 4


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("chunk", [5, 256])
def test_levels_equal_loops_over_users_and_items(engine, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    known = np.random.default_rng(0).random((U, I)) < np.linspace(0, 0.9, U)[:, None]
    known[[4, 5, 22]] = False  # users without train items, the last one among them
    users = torch.randn(U, D, generator=generator)
    # equal rows: equal scores, which are not below
    items = torch.randint(-1, 2, (I, D), generator=generator).float()
    levels = user_hardness(users, items, Positives(np.argwhere(known), U, I, engine=engine))
    scores = torch.mm(users, items.T).numpy()
    assert all(len(values) == U for values in levels.values())
    assert levels["count"].tolist() == known.sum(1).tolist()
    for u in range(U):
        free = scores[u, ~known[u]]
        q = [(free < s).mean() for s in scores[u, known[u]]]
        expected = {
            "min": np.nan,
            "q10": np.nan,
            "median": np.nan,
            "mean": np.nan,
            "probability": np.nan,
        }
        if q:
            loss = max(np.log1p(np.exp(free.astype(float) - s)).mean() for s in scores[u, known[u]])
            expected = {
                "min": min(q),
                "q10": np.quantile(q, 0.1),
                "median": np.median(q),
                "mean": np.mean(q),
                "probability": np.exp(-loss),
            }
        for name, value in expected.items():
            assert np.isclose(levels[name][u], value, atol=1e-6, equal_nan=True), (u, name)


def test_no_train_items_at_all():
    positives = Positives(np.empty((0, 2), dtype=np.int64), 3, 5)
    levels = user_hardness(torch.ones(3, 2), torch.ones(5, 2), positives)
    assert np.isnan(levels["min"]).all() and levels["count"].sum() == 0
