"""SL@K: the formula, and thresholds estimated user by user, trial by trial."""

import math

import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.build import build
from tests.conftest import make_config
from tests.training.test_trainer import comparable, same_when_resumed, train

T, U, I, D, N = 3, 11, 30, 4, 12
KEYS = ["loss.tau_d=0.3", "loss.tau_w=1.5", "loss.top=5", f"loss.N={N}", "loss.every=2"]
TRAINED = [
    "sampler=sl_at_k",
    "sampler.K=6",
    "loss.every=2",
    "loss.N=30",
    "model.similarity=cosine",
    "model.D=8",
    "dataset.users=50",
    "trainer.epochs=8",
    "trainer.eval_every=1",
    "trainer.batch_size=16",
]


def make(seeds: list[int]):
    section = make_config("loss=sl_at_k", *KEYS)["loss"]
    return build([section] * len(seeds), seeds=seeds, n_users=U)


def toy(engine=Engine.PLAIN, trials=slice(None)):
    generator = torch.Generator().manual_seed(0)
    known = np.random.default_rng(0).random((U, I)) < np.linspace(0.05, 0.7, U)[:, None]
    known[:, 3] = True
    known[4] = False  # no train item
    positives = Positives(np.argwhere(known), U, I, engine=engine)
    tables = [torch.randn(T, n, D, generator=generator)[trials] for n in (U, I)]
    return known, positives, Encoded(*tables, engine)


def test_the_loss_is_the_formula_and_so_is_its_gradient():
    loss = make([1]).double()
    generator = torch.Generator().manual_seed(1)
    beta = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    scores = torch.randn(1, 6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    values = loss(scores[..., 0], scores[..., 1:], beta)
    (slopes,) = torch.autograd.grad(values.sum(), scores)

    def formula(row: list[float], beta: float) -> float:
        softmax = math.log(sum(math.exp((s - row[0]) / 0.3) for s in row[1:]))
        return softmax / (1 + math.exp(-(row[0] - beta) / 1.5))

    for b in range(6):
        row, threshold = scores.detach()[0, b].tolist(), float(beta[0, b])
        assert float(values[0, b].detach()) == pytest.approx(formula(row, threshold), rel=1e-6)
        for k in range(4):
            ends = [
                formula([s + h * (n == k) for n, s in enumerate(row)], threshold)
                for h in (1e-5, -1e-5)
            ]
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(slopes[0, b, k]) == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_a_threshold_is_the_score_at_its_rank_among_own_and_sampled_items(engine):
    known, positives, encoded = toy(engine)
    loss = make([1, 2, 3])
    loss.start(positives)
    loss.close_epoch(0, encoded)
    assert not loss.beta.any(), "the first estimate comes after epoch 1"
    loss.close_epoch(1, encoded)
    streams = Streams([1, 2, 3], Purpose.QUANTILE)
    users = torch.arange(U).expand(T, U).contiguous()
    others = draw_pool(positives, users, N, streams, U * N)
    for t in range(T):
        for u in range(U):
            items = [*np.flatnonzero(known[u]).tolist(), *others[t, u].tolist()]
            scores = sorted(
                (float(encoded.users[t, u] @ encoded.items[t, j]) for j in items), reverse=True
            )
            assert float(loss.beta[t, u]) == pytest.approx(scores[4], abs=1e-5)
    assert not torch.equal(loss.beta[0], loss.beta[1])


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_a_trial_has_the_same_thresholds_alone(engine):
    _, positives, encoded = toy(engine)
    packed = make([1, 2, 3])
    packed.start(positives)
    packed.close_epoch(1, encoded)
    for t in range(T):
        alone = make([t + 1])
        alone.start(positives)
        alone.close_epoch(1, toy(engine, slice(t, t + 1))[2])
        assert torch.equal(alone.beta[0], packed.beta[t])


def test_the_threshold_of_the_batch_is_looked_up():
    _, positives, encoded = toy()
    loss = make([1, 2, 3])
    loss.start(positives)
    loss.close_epoch(1, encoded)
    generator = torch.Generator().manual_seed(2)
    users, items = (torch.randint(0, n, (T, 7), generator=generator) for n in (U, I))
    drawn = Negatives(torch.randint(0, I, (T, 7, 4), generator=generator))
    zero = torch.tensor(0)
    scored = loss.score(encoded, encoded, Batch(users, items, zero, zero, 1), drawn)
    for t in range(T):
        for b in range(7):
            beta = loss.beta[t, users[t, b]][None, None]
            row = scored.positive[t, b][None, None], scored.negative[t, b][None, None]
            alone = make([t + 1])(*row, beta)
            assert torch.allclose(scored.losses[t, b], alone[0, 0])


def test_a_trial_has_the_same_result_alone_and_in_a_pack_bit_for_bit(tmp_path):
    variants = [["seed=1"], ["seed=2", "loss.tau_w=0.5"], ["seed=3", "trainer.lr=0.03"]]
    packed = train(tmp_path / "pack", variants, *TRAINED)
    assert len({comparable(trial)[2][-1]["train/loss"] for trial in packed}) == 3
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *TRAINED)
        assert comparable(alone) == comparable(packed[place])


def test_resuming_gives_the_same_result(tmp_path):
    assert same_when_resumed(tmp_path, 3, *TRAINED, "trainer.checkpoint_seconds=0") == 4
