from collections.abc import Sequence
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


DECAYS = {"no decay": None, "decays": [0.0, 1e-4, 0.1]}


@pytest.mark.parametrize("decays", DECAYS.values(), ids=DECAYS)
@pytest.mark.parametrize("name", OURS_AND_TORCH)
def test_equal_to_torch_with_a_learning_rate_and_a_decay_for_each_trial(name, decays):
    ours, theirs = OURS_AND_TORCH[name]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, 4, generator=generator)
    rates = [1e-3, 1e-2, 0.3]
    packed = nn.Parameter(start.clone())
    weight_decay = None if decays is None else torch.tensor(decays).view(-1, 1, 1)
    optimizer = ours([packed], torch.tensor(rates).view(-1, 1, 1), weight_decay=weight_decay)
    alone = [nn.Parameter(start[t].clone()) for t in range(3)]
    oracles = [
        theirs([p], lr=lr, weight_decay=decay)
        for p, lr, decay in zip(alone, rates, decays or [0.0] * 3, strict=True)
    ]
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


KINDS = {
    "adam, plain": PackAdam,
    "adam, numba": partial(PackAdam, engine=Engine.NUMBA),
    "adagrad": PackAdagrad,
}


def run(name: str, drop_after: int, decays: Sequence[float] | None = None) -> torch.Tensor:
    """Take six steps of three trials, row 1 without a gradient; return trial 1.

    After `drop_after` steps only trial 1 continues.
    """
    generator = torch.Generator().manual_seed(1)
    p = nn.Parameter(torch.ones(3, 2, 2))
    weight_decay = None if decays is None else torch.tensor(decays).view(-1, 1, 1)
    optimizer = KINDS[name]([p], torch.full((3, 1, 1), 0.1), weight_decay=weight_decay)
    for step in range(6):
        gradient = torch.randn(3, 2, 2, generator=generator)
        gradient[:, 1] = 0
        if step == drop_after:
            p.data = p.data[[1]]
            optimizer.keep(torch.tensor([1]))
        p.grad = gradient if len(p) == 3 else gradient[[1]]
        optimizer.step()
    return p[1] if len(p) == 3 else p[0]


@pytest.mark.parametrize("decays", [None, [0.3, 0.01, 0.0]])
@pytest.mark.parametrize("name", KINDS)
def test_keep_drops_the_other_trials_without_touching_the_kept(name, decays):
    kept = run(name, drop_after=3, decays=decays)
    assert torch.equal(kept, run(name, drop_after=99, decays=decays))


@pytest.mark.parametrize("name", KINDS)
def test_a_row_without_a_gradient_stays_unless_it_decays(name):
    after = run(name, drop_after=99)
    assert torch.equal(after[1], torch.ones(2)) and not torch.equal(after[0], torch.ones(2))
    assert (run(name, drop_after=99, decays=[0.0, 0.01, 0.0])[1] < 1).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_trial_without_decay_is_the_same_beside_one_that_decays(name):
    beside = run(name, drop_after=99, decays=[0.3, 0.0, 0.1])
    assert torch.equal(beside, run(name, drop_after=99))
