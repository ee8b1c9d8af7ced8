import math

import torch
from scipy import stats

from hapens_bench.models.gmf import GMF

ZERO = torch.zeros(2, 1, 1)


def test_initial_values_are_those_of_srns():
    model = GMF(32, "srns", ZERO, seeds=[1, 2], n_users=3000, n_items=500)
    normal = stats.truncnorm(-2, 2, scale=0.01)
    for table in (model.user[0], model.user[1], model.item[0]):
        values = table.detach().flatten().double().numpy()
        assert abs(values).max() <= 0.02 and stats.kstest(values, normal.cdf).pvalue > 1e-3
    w = torch.cat(
        [GMF(32, "srns", ZERO[:1], [seed], 1, 1).w.detach().flatten() for seed in range(60)]
    )
    bound = math.sqrt(6 / 33)
    assert stats.kstest(w.double().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert model.w.shape == (2, 1, 32) and not torch.equal(model.w[0], model.w[1])


def test_w_takes_part_in_scores_and_gets_a_gradient_but_no_l2():
    model = GMF(8, "srns", ZERO, seeds=[1, 2], n_users=4, n_items=5)
    users, items = torch.tensor([[0, 3]] * 2), torch.tensor([[1, 4]] * 2)
    encoded = model.encode()
    positive, _, _ = encoded.pairs(users, items, items[..., None])
    squares = model.ego(encoded).pairs(users, items, items[..., None])[2]
    for t in range(2):
        for b in range(2):
            p, q = model.user[t, users[t, b]], model.item[t, items[t, b]]
            assert torch.allclose(
                positive[t, b], sum(model.w[t, 0, d] * p[d] * q[d] for d in range(8))
            )
            assert torch.allclose(squares[t, b], (p @ p + 2 * (q @ q)) / 2)
    squares.sum().backward(retain_graph=True)
    assert model.w.grad is None
    positive.sum().backward()
    assert model.w.grad.abs().sum() > 0
