"""SSM with one pool for the batch: what is drawn, and the matrix product that scores it."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from hapens_bench.config.identity import run_id
from hapens_bench.kernels import Engine
from hapens_bench.losses.base import pair_scores
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.build import build_sampler
from tests.conftest import make_config
from tests.training.test_trainer import comparable, train

T, U, I, D, B, K = 3, 20, 40, 8, 32, 9
ENGINES = [Engine.PLAIN, Engine.NUMBA]


def known() -> np.ndarray:
    return np.random.default_rng(0).random((U, I)) < np.linspace(0.05, 0.9, U)[:, None]


def drawn(engine, K=K, seeds=(1, 2, 3), B=B, user=None):
    positives = Positives(np.argwhere(known()), U, I, engine=engine)
    section = make_config("sampler=ssm", f"sampler.K={K}", "sampler.shared=true")["sampler"]
    sampler = build_sampler([section] * len(seeds), list(seeds), D, U, I)
    sampler.start(positives)
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(0, U, (3, B), generator=generator)[: len(seeds)]
    if user is not None:
        users = torch.full_like(users, user)
    batch = Batch(users, users % I, torch.tensor(0), torch.tensor(5), 1)
    pool = draw_pool(positives, users, sampler.pool_size, Streams(list(seeds), Purpose.POOL), 11)
    return batch, sampler.draw(batch, None, pool, Streams(list(seeds), Purpose.SAMPLER))


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_the_shared_items_but_for_known_ones(engine):
    batch, negatives = drawn(engine)
    assert negatives.items.shape == (T, B, K) and negatives.shared.shape == (T, K)
    for t in range(T):
        for b in range(B):
            own = known()[int(batch.users[t, b])]
            stand_in = int(negatives.stand_in[t, b])
            assert not own[stand_in]
            expected = [stand_in if own[j] else j for j in negatives.shared[t].tolist()]
            assert negatives.items[t, b].tolist() == expected
    alone = drawn(engine, seeds=(2,))[1]
    assert torch.equal(alone.shared[0], negatives.shared[1])


def test_both_engines_draw_the_same():
    assert torch.equal(*(drawn(engine)[1].items for engine in ENGINES))


def test_a_negative_is_uniform_over_what_the_user_has_not_interacted_with():
    free = np.flatnonzero(~known()[10])
    counts = np.zeros(I)
    for seed in range(0, 3000, 3):  # one row of each: its places are independent in `shared` only
        _, negatives = drawn(Engine.NUMBA, K=1, seeds=(seed, seed + 1, seed + 2), B=1, user=10)
        counts += np.bincount(negatives.items.flatten().numpy(), minlength=I)
    assert counts.sum() == counts[free].sum() == 3000
    assert stats.chisquare(counts[free]).pvalue > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("leaf", [True, False])
def test_the_matrix_product_gives_the_scores_and_gradients_of_the_pairs(engine, leaf):
    batch, negatives = drawn(engine)
    found = []
    for given in (negatives, Negatives(negatives.items)):
        generator = torch.Generator().manual_seed(1)
        users, items = (nn.Parameter(torch.randn(T, n, D, generator=generator)) for n in (U, I))
        ego = Encoded(users, items, engine)
        encoded = ego if leaf else Encoded(users / 2, items / 2, engine)
        positive, negative, squares = pair_scores(encoded, ego, batch, given)
        ((negative - positive[..., None]).sigmoid().sum() + 0.3 * squares.sum()).backward()
        found.append((positive, negative, squares, users.grad, items.grad))
    for shared, pairs in zip(*found, strict=True):
        assert shared.shape == pairs.shape and torch.allclose(shared, pairs, rtol=1e-4, atol=1e-4)


def test_a_pack_trains_each_trial_as_alone(tmp_path):
    overrides = [
        "sampler=sl",
        "sampler.K=24",
        "sampler.shared=true",
        "model.similarity=cosine",
        "model.D=8",
        "dataset.users=50",
        "trainer.epochs=3",
        "trainer.batch_size=64",
    ]
    variants = [["seed=1"], ["seed=2", "loss.tau=0.5"]]
    packed = train(tmp_path / "pack", variants, *overrides)
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *overrides)
        assert comparable(alone) == comparable(packed[place])


def test_runs_from_before_the_key_keep_their_ids():
    config = make_config("sampler=ssm", "tuned=none")
    earlier = {**config, "sampler": {k: v for k, v in config["sampler"].items() if k != "shared"}}
    assert run_id(earlier) == run_id(config)
    assert run_id(make_config("sampler=ssm", "sampler.shared=true", "tuned=none")) != run_id(config)
