import pytest
import torch
from torch import nn

from hapens_bench.kernels import Engine
from hapens_bench.training.adam import PackAdam


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_equal_to_torch_adam_with_a_learning_rate_for_each_trial(engine):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, 4, generator=generator)
    rates = [1e-3, 1e-2, 0.3]
    packed = nn.Parameter(start.clone())
    adam = PackAdam([packed], torch.tensor(rates).view(-1, 1, 1), engine=engine)
    alone = [nn.Parameter(start[t].clone()) for t in range(3)]
    oracles = [torch.optim.Adam([p], lr=lr) for p, lr in zip(alone, rates, strict=True)]
    for _ in range(50):
        gradient = torch.randn(3, 7, 4, generator=generator) * (torch.rand(3, 7, 1, generator=generator) < 0.5)
        packed.grad = gradient.clone()
        adam.step()
        for t, oracle in enumerate(oracles):
            alone[t].grad = gradient[t].clone()
            oracle.step()
    for t in range(3):
        assert torch.allclose(packed[t], alone[t], rtol=1e-5, atol=1e-6)


def test_keep_drops_the_other_trials_without_touching_the_kept():
    def run(drop_after: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        p = nn.Parameter(torch.ones(3, 2, 2))
        adam = PackAdam([p], torch.full((3, 1, 1), 0.1))
        for step in range(6):
            gradient = torch.randn(3, 2, 2, generator=generator)
            if step == drop_after:
                p.data = p.data[[1]]
                adam.keep(torch.tensor([1]))
            p.grad = gradient if len(p) == 3 else gradient[[1]]
            adam.step()
        return p[1] if len(p) == 3 else p[0]

    assert torch.equal(run(drop_after=3), run(drop_after=99))
