"""The compiled product, dropout, noise, rows of length 1 against plain torch (sums in float64)."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hapens_bench.kernels import Engine, cpu, gradients
from hapens_bench.models.dropout import Noise
from hapens_bench.rng import Purpose, Streams

DEGREES = [
    0,
    1,
    7,
    8,
    9,
    0,
    17,
    33,
    16,
    40,
    0,
]  # around the eights that a row's edges are taken in; the last row is empty


def matrix(m: int = 50):
    generator = np.random.default_rng(0)
    index = np.concatenate([np.sort(generator.choice(m, d, replace=False)) for d in DEGREES])
    indptr = np.concatenate([[0], np.cumsum(DEGREES)])
    return torch.from_numpy(indptr.astype(np.int32)), torch.from_numpy(index.astype(np.int32))


def dense(indptr, index, weight, m: int = 50):
    full = torch.zeros(len(indptr) - 1, m, dtype=torch.float64)
    for row in range(len(indptr) - 1):
        for e in range(int(indptr[row]), int(indptr[row + 1])):
            full[row, index[e]] = weight[e]
    return full


@pytest.mark.parametrize("D", [1, 5, 16, 64, 127])
@pytest.mark.parametrize("own", [False, True])
def test_products_equal_dense_ones_with_the_same_bits_for_any_pack_and_thread_count(D, own):
    generator = torch.Generator().manual_seed(D)
    indptr, index = matrix()
    table, weight = (
        torch.randn(3, 50, D, generator=generator),
        torch.randn(3 if own else 1, len(index), generator=generator),
    )
    outputs = []
    for threads in (1, 2):
        cpu.set_threads(threads)
        outputs.append(cpu.multiply(indptr, index, weight, table))
        for t in range(3):
            w = weight[t : t + 1] if own else weight
            assert torch.equal(cpu.multiply(indptr, index, w, table[t : t + 1])[0], outputs[0][t])
    assert torch.equal(*outputs)
    for t in range(3):
        expected = dense(indptr, index, weight[t % len(weight)]) @ table[t].double()
        assert torch.allclose(outputs[0][t].double(), expected, atol=1e-5)
    assert not outputs[0][:, [0, 5, 10]].any(), "a row without edges gets nothing"
    alone = cpu.multiply(indptr, index, weight, table[..., -1:])
    assert torch.equal(alone, outputs[0][..., -1:]), "a sum's bits do not depend on its neighbours"


def noise(seeds=(1, 2, 3)) -> Noise:
    return Noise(Streams(list(seeds), Purpose.DROPOUT), torch.tensor(2))


def test_both_engines_drop_the_same_entries_and_the_gradient_of_the_same():
    rate, outputs = torch.tensor([0.0, 0.25, 0.9]).view(-1, 1, 1), []
    for engine in (Engine.PLAIN, Engine.NUMBA):
        x = nn.Parameter(torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(0)))
        dropped = noise().drop(x, rate, torch.tensor(1000), engine)
        (dropped * torch.arange(42.0).view(6, 7)).sum().backward()
        outputs.append((dropped, x.grad))
        assert torch.equal(dropped[0], x[0]), "nothing is dropped at rate 0"
    assert all(torch.equal(mine, plain) for mine, plain in zip(*outputs, strict=True))


def test_dropout_drops_its_share_keeps_the_mean_and_goes_on_in_the_stream():
    rate, ones = torch.tensor([0.1, 0.5, 0.8]).view(-1, 1, 1), torch.ones(3, 400, 250)
    dropped = noise().drop(ones, rate, torch.tensor(0), Engine.NUMBA)
    for t, p in enumerate(rate.flatten().tolist()):
        values = dropped[t].unique()
        assert torch.allclose(values, torch.tensor([0.0, 1 / (1 - p)]))
        assert (
            abs(float((dropped[t] == 0).float().mean()) - p) < 0.006
        )  # four standard deviations of 100,000 draws
    later = noise().drop(ones, rate, torch.tensor(250), Engine.NUMBA)
    assert torch.equal(later[:, :-1], dropped[:, 1:]) and not torch.equal(later, dropped)


@pytest.mark.parametrize("normal", [False, True])
def test_both_engines_move_rows_by_the_same_vectors_of_a_length_and_direction(normal):
    eps, outputs = torch.tensor([0.0, 0.25, 2.0]).view(-1, 1, 1), []
    for engine in (Engine.PLAIN, Engine.NUMBA):
        x = nn.Parameter(torch.randn(3, 300, 7, generator=torch.Generator().manual_seed(0)))
        moved = noise().perturb(x, eps, torch.tensor(1000), normal, engine)
        (moved * torch.arange(7.0)).sum().backward()
        assert torch.equal(x.grad, torch.arange(7.0).expand(3, 300, 7)), "it passes through"
        outputs.append((moved - x).detach())
    assert torch.allclose(*outputs, atol=1e-6)
    lengths, along = outputs[0].norm(dim=-1), outputs[0] * x.detach().sign()
    assert torch.allclose(lengths, eps[..., 0].expand(3, 300), atol=1e-5)
    assert (along >= -1e-6).all() != normal, "uniform noise leads away from 0 in every entry"
    mean = 0 if normal else 0.35 * 2  # of entries of w / |w|, times eps = 2
    assert float(along[2].mean()) == pytest.approx(mean, abs=0.08)


def test_noise_goes_on_in_the_stream_and_is_that_of_the_trial():
    x, eps = torch.ones(3, 5, 8), torch.ones(3, 1, 1)
    for normal in (False, True):
        first, later = (
            noise().perturb(x, eps, torch.tensor(at), normal, Engine.NUMBA) for at in (0, 8)
        )
        if not normal:
            assert torch.equal(later[:, :-1], first[:, 1:])
        assert not torch.equal(later, first) and not torch.equal(first[0], first[1])
        alone = noise([2]).perturb(x[:1], eps[:1], torch.tensor(0), normal, Engine.NUMBA)
        assert torch.equal(alone[0], first[1])
    zeros = noise().perturb(torch.zeros(3, 5, 8), eps, torch.tensor(0), False, Engine.NUMBA)
    assert not zeros.any(), "a node without neighbours stays at 0"


def test_rows_of_length_one_and_their_gradients_equal_those_of_torch():
    outputs = []
    for function in (gradients.Unit.apply, lambda x: F.normalize(x, dim=-1)):
        table = torch.randn(2, 9, 13, generator=torch.Generator().manual_seed(0))
        table[0, 3] = 0
        x = nn.Parameter(table)
        unit = function(x)
        (unit * torch.arange(13.0)).sum().backward()
        outputs.append((unit.detach(), x.grad))
    (unit, gradient), (expected, theirs) = outputs
    assert torch.allclose(unit, expected, atol=1e-6)
    inside = [row for row in range(9) if row != 3]
    assert (
        torch.allclose(gradient[:, inside], theirs[:, inside], atol=1e-4)
        and torch.isfinite(gradient).all()
    )
    assert torch.allclose(gradient[0, 3], theirs[0, 3])
