from functools import partial

import pytest
import torch
from torch import nn

from hapens_bench.kernels import Engine
from hapens_bench.training.adagrad import PackAdagrad
from hapens_bench.training.adam import PackAdam

OURS_AND_TORCH = {
    "adam, plain": (partial(PackAdam, engine=Engine.PLAIN), torch.optim.Adam),
    "adam, numba": (partial(PackAdam, engine=Engine.NUMBA), torch.optim.Adam),
    **{
        f"adagrad from {initial}": (
            partial(PackAdagrad, initial_accumulator=initial),
            partial(torch.optim.Adagrad, initial_accumulator_value=initial),
        )
        for initial in (0.0, 1e-8, 0.1)
    },
}


@pytest.mark.parametrize("name", OURS_AND_TORCH)
def test_equal_to_torch_with_a_learning_rate_for_each_trial(name):
    ours, theirs = OURS_AND_TORCH[name]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, 4, generator=generator)
    rates = [1e-3, 1e-2, 0.3]
    packed = nn.Parameter(start.clone())
    optimizer = ours([packed], torch.tensor(rates).view(-1, 1, 1))
    alone = [nn.Parameter(start[t].clone()) for t in range(3)]
    oracles = [theirs([p], lr=lr) for p, lr in zip(alone, rates, strict=True)]
    for _ in range(50):
        gradient = torch.randn(3, 7, 4, generator=generator) * (
            torch.rand(3, 7, 1, generator=generator) < 0.5
        )
        packed.grad = gradient.clone()
        optimizer.step()
        assert packed.grad is None or not packed.grad.any()
        for t, oracle in enumerate(oracles):
            alone[t].grad = gradient[t].clone()
            oracle.step()
    for t in range(3):
        assert torch.allclose(packed[t], alone[t], rtol=1e-5, atol=1e-6)


def run(kind: type, drop_after: int) -> torch.Tensor:
    """Take six steps of three trials, row 1 without a gradient; return trial 1.

    After `drop_after` steps only trial 1 continues.
    """
    generator = torch.Generator().manual_seed(1)
    p = nn.Parameter(torch.ones(3, 2, 2))
    optimizer = kind([p], torch.full((3, 1, 1), 0.1))
    for step in range(6):
        gradient = torch.randn(3, 2, 2, generator=generator)
        gradient[:, 1] = 0
        if step == drop_after:
            p.data = p.data[[1]]
            optimizer.keep(torch.tensor([1]))
        p.grad = gradient if len(p) == 3 else gradient[[1]]
        optimizer.step()
    return p[1] if len(p) == 3 else p[0]


@pytest.mark.parametrize("kind", [PackAdam, PackAdagrad])
def test_keep_drops_the_other_trials_without_touching_the_kept(kind):
    assert torch.equal(run(kind, drop_after=3), run(kind, drop_after=99))


@pytest.mark.parametrize("kind", [PackAdam, PackAdagrad])
def test_a_row_without_a_gradient_stays(kind):
    after = run(kind, drop_after=99)
    assert torch.equal(after[1], torch.ones(2)) and not torch.equal(after[0], torch.ones(2))
