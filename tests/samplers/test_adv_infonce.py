"""AdvInfoNCE: the adversary climbs the loss that the recommender descends."""

import math

import numpy as np
import pytest
import torch

from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.build import build, build_sampler
from tests.conftest import make_config
from tests.training.test_trainer import comparable, train

U, I, D, B, K = 9, 20, 4, 12, 6
KEYS = [f"sampler.K={K}", "loss.tau=0.4", "sampler.c=3", "sampler.every=2", "sampler.times=2"]


def scene(epoch: int = 0, *more: str):
    config = make_config("sampler=adv_infonce", *KEYS, *more)
    sampler = build_sampler([config["sampler"]], [5], D, U, I)
    generator = torch.Generator().manual_seed(0)
    pairs = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.3)
    positives = Positives(pairs, U, I)
    chosen = torch.from_numpy(pairs)[torch.randint(0, len(pairs), (1, B), generator=generator)]
    batch = Batch(chosen[..., 0], chosen[..., 1], torch.tensor(epoch), torch.tensor(3), 10)
    encoded = Encoded(*(torch.rand(1, n, D, generator=generator) for n in (U, I)))
    pool = draw_pool(positives, batch.users, K, Streams([5], Purpose.POOL), 0)
    drawn = sampler.draw(batch, encoded, pool, Streams([5], Purpose.SAMPLER))
    return config, sampler, batch, encoded, drawn


def climbed(sampler, batch, encoded, drawn, tau=0.4, c=3.0, l2=0.0):
    """The adversary's own loss in float64, written out: L2 less the recommender's loss."""
    a, b = (x.detach().double()[0].requires_grad_() for x in sampler.adversary.parameters())
    users, items = (x.double()[0] for x in (encoded.users, encoded.items))
    total = 0.0
    for u, i, row in zip(batch.users[0], batch.items[0], drawn.items[0], strict=True):
        g = torch.stack([a[u] @ b[j] for j in row])
        w = c * K * torch.exp(g) / torch.exp(g).sum()
        s = torch.stack([users[u] @ items[j] for j in row]) - users[u] @ items[i]
        squares = a[u] @ a[u] + sum(b[j] @ b[j] for j in row)
        total = total + l2 * squares / 2 - torch.log(1 + (w * torch.exp(s / tau)).sum())
    return torch.autograd.grad(total / B, (a, b))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_adversary_climbs_the_loss_of_the_recommender(l2):
    _, sampler, batch, encoded, drawn = scene(0, f"sampler.l2={l2}")
    drawn.extra.sum().backward()
    expected = climbed(sampler, batch, encoded, drawn, l2=l2)
    for p, gradient in zip(sampler.adversary.parameters(), expected, strict=True):
        assert torch.allclose(p.grad[0].double(), gradient, atol=1e-6)
    assert float(drawn.extra.detach()) == 0


def test_the_loss_that_is_climbed_is_the_one_that_is_descended():
    config, _, batch, encoded, drawn = scene()
    loss = build([config["loss"]])
    positive = encoded.score(batch.users, batch.items[..., None])[..., 0]
    values = loss(positive, encoded.score(batch.users, drawn.items), drawn.weights)
    for b in range(B):
        s = encoded.score(batch.users, drawn.items)[0, b] - positive[0, b]
        total = sum(w * math.exp(x / 0.4) for w, x in zip(drawn.weights[0, b], s, strict=True))
        assert float(values[0, b]) == pytest.approx(math.log(1 + total), rel=1e-5)


@pytest.mark.parametrize(
    ("epoch", "learns"), [(0, True), (1, False), (2, True), (3, False), (4, False)]
)
def test_it_learns_in_every_second_epoch_and_twice_in_all(epoch, learns):
    _, sampler, _, _, drawn = scene(epoch)
    drawn.extra.sum().backward()
    assert any(p.grad.any() for p in sampler.adversary.parameters()) == learns


def test_eta_is_the_divergence_from_the_uniform_distribution():
    _, sampler, _, _, drawn = scene()
    p = drawn.weights.double() / (3 * K)
    eta = (p * (p * K).log()).sum(-1).mean()
    columns = sampler.close_epoch(0, None)
    assert float(columns["sampler/eta"]) == pytest.approx(float(eta), rel=1e-4)
    assert not sampler.tally.any()


def test_a_pack_trains_each_trial_as_alone(tmp_path):
    overrides = [
        "sampler=adv_infonce",
        *KEYS,
        "sampler.lr=0.01",
        "model.D=8",
        "model.similarity=cosine",
        "dataset.users=50",
        "trainer.epochs=4",
        "trainer.batch_size=64",
    ]
    variants = [["seed=1"], ["seed=2", "sampler.every=1", "sampler.c=1"]]
    packed = train(tmp_path / "pack", variants, *overrides)
    etas = [row["sampler/eta"] for row in comparable(packed[0])[2]]
    assert etas[0] > 0 and len(set(etas)) > 1
    for place, variant in enumerate(variants):
        (alone,) = train(tmp_path / str(place), [variant], *overrides)
        assert comparable(alone) == comparable(packed[place])
