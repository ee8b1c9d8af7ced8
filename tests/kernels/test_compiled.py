"""What CUDA compiles, compiled here: the same draws and scores as the plain functions."""

import numpy as np
import pytest
import torch

from hapens_bench.kernels import compiled
from hapens_bench.models.base import _gather_dot
from hapens_bench.models.dropout import _mask, _move
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, _draw_everywhere, draw_pool

pytestmark = pytest.mark.slow  # torch.compile takes a minute here


@pytest.mark.parametrize("bitmap", [1 << 20, 0])
def test_compiled_draws_equal_the_plain_ones(bitmap):
    pairs = np.argwhere(np.random.default_rng(0).random((60, 45)) < 0.3).astype(np.int64)
    positives, streams = (
        Positives(pairs, 60, 45, bitmap_bytes=bitmap),
        Streams([1, 2, 3], Purpose.POOL),
    )
    for B, M in ((64, 8), (32, 16), (64, 1)):
        users = torch.randint(0, 60, (3, B), generator=torch.Generator().manual_seed(B))
        drawn = compiled(_draw_everywhere)(positives, users, M, streams, torch.tensor(77))
        assert torch.equal(drawn, draw_pool(positives, users, M, streams, 77))


def test_compiled_scores_equal_the_plain_ones():
    generator = torch.Generator().manual_seed(0)
    tables = (
        torch.randn(3, 60, 16, generator=generator),
        torch.randn(3, 45, 16, generator=generator),
    )
    for M in (4, 9):
        users = torch.randint(0, 60, (3, 32), generator=generator)
        items = torch.randint(0, 45, (3, 32, M), generator=generator)
        assert torch.allclose(
            compiled(_gather_dot)(*tables, users, items),
            _gather_dot(*tables, users, items),
            atol=1e-5,
        )


def test_compiled_dropout_masks_equal_the_plain_ones():
    streams, rate = (
        Streams([1, 2, 3], Purpose.DROPOUT),
        torch.tensor([0.0, 0.2, 0.7]).view(-1, 1, 1),
    )
    for n in (64, 1000):
        assert torch.equal(
            compiled(_mask)(streams, torch.tensor(12), rate, n),
            _mask(streams, torch.tensor(12), rate, n),
        )


@pytest.mark.parametrize("normal", [False, True])
def test_compiled_noise_equals_the_plain_one(normal):
    streams, eps = Streams([1, 2, 3], Purpose.DROPOUT), torch.tensor([0, 0.2, 2]).view(-1, 1, 1)
    for n in (50, 9):
        x = torch.randn(3, n, 16, generator=torch.Generator().manual_seed(n))
        mine, plain = (
            f(streams, torch.tensor(12), x, eps, normal) for f in (compiled(_move), _move)
        )
        assert torch.allclose(mine, plain, atol=1e-5)
