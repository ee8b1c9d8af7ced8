import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.hardness import MOST, HardnessMeter


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize(("K", "every"), [(2, 1), (MOST, 1), (MOST + 1, 2), (300, 3)])
def test_measures_equal_slow_loops(engine, K, every):
    generator = torch.Generator().manual_seed(0)
    U, I, B, T = 6, 15, 10, 2
    train = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.3).astype(np.int64)
    held = np.argwhere(np.random.default_rng(1).random((U, I)) < 0.3).astype(np.int64)
    positives = Positives(train, U, I, engine=engine)
    encoded = Encoded(
        torch.randn(T, U, 4, generator=generator), torch.randn(T, I, 4, generator=generator), engine
    )
    meter = HardnessMeter(Positives(held, U, I, engine=engine), positives, 10_000, T)
    steps = []
    for _ in range(3):
        chosen = torch.from_numpy(train)[torch.randint(0, len(train), (T, B), generator=generator)]
        users = chosen[..., 0]
        negatives = torch.randint(0, I, (T, B, K), generator=generator)
        positive = torch.randn(T, B, generator=generator)
        negative = torch.randn(T, B, K, generator=generator)
        meter.add(users, positive, negative, negatives)
        steps.append((users, positive, negative[..., ::every], negatives[..., ::every]))
    users, positive, negative, negatives = steps[-1]
    K = negatives.shape[2]
    rows = meter.report(encoded)

    known, held_out = {tuple(p) for p in train.tolist()}, {tuple(p) for p in held.tolist()}
    for t in range(T):
        ratio, sigmoid, false = [], [], []
        for s_users, s_pos, s_neg, s_items in steps:
            for b in range(B):
                for k in range(K):
                    ratio.append(float(s_neg[t, b, k]) / float(s_pos[t, b]))
                    sigmoid.append(1 / (1 + np.exp(float(s_pos[t, b]) - float(s_neg[t, b, k]))))
                    false.append((int(s_users[t, b]), int(s_items[t, b, k])) in held_out)
        assert np.isclose(rows[t]["hardness/ratio"], np.mean(ratio))
        assert np.isclose(rows[t]["hardness/sigmoid"], np.mean(sigmoid))
        assert np.isclose(rows[t]["hardness/false_negative_rate"], np.mean(false))
        percentile = []
        for b in range(B):
            u = int(users[t, b])
            scores = (encoded.items[t] @ encoded.users[t, u]).tolist()
            free = [j for j in range(I) if (u, j) not in known]
            for k in range(K):
                score = scores[int(negatives[t, b, k])]
                percentile.append(sum(scores[j] < score for j in free) / len(free))
        assert np.isclose(rows[t]["hardness/percentile"], np.mean(percentile))
        last = np.array(sigmoid[-B * K :])
        for q in (0.1, 0.5, 0.9):
            assert np.isclose(
                rows[t][f"hardness/sigmoid_q{int(100 * q)}"], np.quantile(last, q), atol=1e-6
            )
            assert np.isclose(
                rows[t][f"hardness/percentile_q{int(100 * q)}"],
                np.quantile(percentile, q),
                atol=1e-6,
            )
