"""Stage one of HAPENS (our reading): equality with loops over users and items.

Also the two limits of its smooth maximum.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.build import build
from tests.conftest import make_config

T, U, I, D, B, K = 3, 12, 20, 8, 7, 4


@pytest.fixture
def toy():
    generator = torch.Generator().manual_seed(0)
    known = np.random.default_rng(0).random((U, I)) < np.linspace(0.05, 0.9, U)[:, None]
    known[:, 3] = True  # everyone has an item
    tables = [torch.randn(T, n, D, generator=generator, requires_grad=True) for n in (U, I)]
    users = torch.stack([torch.randperm(U, generator=generator)[:B] for _ in range(T)])
    negatives = Negatives(torch.randint(0, I, (T, B, K), generator=generator))
    return known, Positives(np.argwhere(known), U, I), tables, users, negatives


def worst_case(positives, maximum, *etas):
    configs = [
        make_config("sampler=worst_case", f"loss.maximum={maximum}", f"loss.eta={eta}")["loss"]
        for eta in etas
    ]
    loss = build(configs)
    loss.start(positives)
    return loss


@pytest.mark.parametrize("maximum", ["smooth", "exact"])
def test_loss_norms_and_gradient_equal_loops_over_users_and_items(toy, maximum):
    known, positives, tables, users, negatives = toy
    etas = (0.3, 5.0, 20.0)
    encoded = Encoded(*tables)
    losses, squares = worst_case(positives, maximum, *etas)(encoded, encoded, users, negatives)
    gradients = torch.autograd.grad(losses.sum(), tables)
    slow = [table.detach().double().requires_grad_() for table in tables]
    total = 0.0
    for t, eta in enumerate(etas):
        for b, u in enumerate(users[t].tolist()):
            q, V = slow[0][t, u], slow[1][t]
            train_items, drawn = np.flatnonzero(known[u]).tolist(), negatives.items[t, b].tolist()
            each = [
                sum(torch.nn.functional.softplus(q @ V[j] - q @ V[i]) for j in drawn) / K
                for i in train_items
            ]
            smooth = (sum((eta * l).exp() for l in each) / len(train_items)).log() / eta
            loss = smooth if maximum == "smooth" else max(each)
            norm = (
                q @ q
                + sum(V[i] @ V[i] for i in train_items) / len(train_items)
                + sum(V[j] @ V[j] for j in drawn) / K
            )
            assert float(losses[t, b].detach()) == pytest.approx(float(loss.detach()), rel=1e-4)
            assert float(squares[t, b].detach()) == pytest.approx(
                float(norm.detach()) / 2, rel=1e-4
            )
            total = total + loss
    for gradient, expected in zip(gradients, torch.autograd.grad(total, slow), strict=True):
        assert torch.allclose(gradient.double(), expected, rtol=1e-3, atol=1e-4)


def test_eta_goes_from_the_average_to_the_maximum(toy):
    known, positives, tables, users, negatives = toy
    encoded = Encoded(*tables)

    def losses(maximum, eta):
        return (
            worst_case(positives, maximum, *[eta] * T)(encoded, encoded, users, negatives)[0]
            .detach()
            .double()
        )

    exact = losses("exact", 1.0)
    smooth = [losses("smooth", eta) for eta in (1e-3, 0.1, 1.0, 10.0, 1e4)]
    for less, more in itertools.pairwise(smooth):
        assert (less <= more + 1e-4).all()
    assert torch.allclose(smooth[-1], exact, atol=1e-2) and (smooth[0] < exact - 0.1).any()
    u = users[0, 0]
    train_items = torch.from_numpy(np.flatnonzero(known[u]))
    q, V = tables[0][0, u].detach(), tables[1][0].detach()
    gaps = (V[negatives.items[0, 0]] @ q)[:, None] - (V[train_items] @ q)[None]
    assert math.isclose(
        float(smooth[0][0, 0]), float(torch.nn.functional.softplus(gaps).mean()), rel_tol=1e-2
    )


@pytest.mark.parametrize("maximum", ["smooth", "exact"])
def test_a_trial_has_the_same_bits_beside_mates_whose_users_have_more_items(toy, maximum):
    _, positives, tables, users, negatives = toy
    users = users.clone()
    users[1] = torch.arange(U - B, U)  # those with the longest rows
    encoded = Encoded(*tables)
    packed = worst_case(positives, maximum, 1, 2, 3)(encoded, encoded, users, negatives)
    all_gradients = torch.autograd.grad(packed[0].sum() + packed[1].sum(), tables)
    for t in (0, 2):
        trial = slice(t, t + 1)
        trial_tables = [table.detach()[trial].requires_grad_() for table in tables]
        alone = worst_case(positives, maximum, t + 1)
        losses, squares = alone(
            Encoded(*trial_tables),
            Encoded(*trial_tables),
            users[trial],
            Negatives(negatives.items[trial]),
        )
        assert torch.equal(losses[0], packed[0][t]) and torch.equal(squares[0], packed[1][t])
        gradients = torch.autograd.grad(losses.sum() + squares.sum(), trial_tables)
        assert all(
            torch.equal(g[0], whole[t]) for g, whole in zip(gradients, all_gradients, strict=True)
        )
