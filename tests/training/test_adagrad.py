import pytest
import torch
from torch import nn

from hapens_bench.training.adagrad import PackAdagrad


@pytest.mark.parametrize("initial", [0.0, 1e-8, 0.1])
def test_equal_to_torch_adagrad_with_a_learning_rate_for_each_trial(initial):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, 4, generator=generator)
    rates = [1e-3, 1e-2, 0.3]
    packed = nn.Parameter(start.clone())
    adagrad = PackAdagrad([packed], torch.tensor(rates).view(-1, 1, 1), initial)
    alone = [nn.Parameter(start[t].clone()) for t in range(3)]
    oracles = [
        torch.optim.Adagrad([p], lr=lr, initial_accumulator_value=initial) for p, lr in zip(alone, rates, strict=True)
    ]
    for _ in range(50):
        gradient = torch.randn(3, 7, 4, generator=generator) * (torch.rand(3, 7, 1, generator=generator) < 0.5)
        packed.grad = gradient.clone()
        adagrad.step()
        for t, oracle in enumerate(oracles):
            alone[t].grad = gradient[t].clone()
            oracle.step()
    assert packed.grad is None
    for t in range(3):
        assert torch.allclose(packed[t], alone[t], rtol=1e-5, atol=1e-6)


def test_a_row_without_a_gradient_stays_and_keep_drops_the_other_trials():
    def run(drop_after: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        p = nn.Parameter(torch.ones(3, 2, 2))
        adagrad = PackAdagrad([p], torch.full((3, 1, 1), 0.1))
        for step in range(6):
            gradient = torch.randn(3, 2, 2, generator=generator)
            gradient[:, 1] = 0
            if step == drop_after:
                p.data = p.data[[1]]
                adagrad.keep(torch.tensor([1]))
            p.grad = gradient if len(p) == 3 else gradient[[1]]
            adagrad.step()
        return p[1] if len(p) == 3 else p[0]

    assert torch.equal(run(drop_after=3), run(drop_after=99))
    assert torch.equal(run(99)[1], torch.ones(2)) and not torch.equal(run(99)[0], torch.ones(2))
