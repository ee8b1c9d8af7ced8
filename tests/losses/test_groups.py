"""Losses over users: equality with the sum over all pairs, written out."""

import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Negatives
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.build import build
from tests.conftest import make_config

T, U, I, D, B = 3, 12, 20, 8, 7


@pytest.fixture
def toy():
    generator = torch.Generator().manual_seed(0)
    known = np.random.default_rng(0).random((U, I)) < np.linspace(0.05, 0.9, U)[:, None]
    known[:, 3] = True  # everyone has an item
    positives = Positives(np.argwhere(known), U, I)
    tables = [torch.randn(T, n, D, generator=generator, requires_grad=True) for n in (U, I)]
    users = torch.stack([torch.randperm(U, generator=generator)[:B] for _ in range(T)])
    return known, positives, tables, users


def whole_data(positives, weights):
    loss = build([make_config("sampler=enmf", f"loss.w={w}")["loss"] for w in weights])
    loss.start(positives)
    return loss


def nothing(users):
    return Negatives(users.new_zeros(*users.shape, 1))


def test_the_closed_form_equals_the_sum_over_all_pairs_and_so_does_its_gradient(toy):
    known, positives, tables, users = toy
    weights = [0.3, 0.01, 1.0]
    encoded = Encoded(*tables)
    losses, squares = whole_data(positives, weights)(encoded, encoded, users, nothing(users))
    gradients = torch.autograd.grad(losses.sum(), tables)
    slow = [table.detach().double().requires_grad_() for table in tables]
    total = 0.0
    for t, w in enumerate(weights):
        for b, u in enumerate(users[t].tolist()):
            loss, norm = 0.0, slow[0][t, u] @ slow[0][t, u]
            for j in range(I):
                s = slow[0][t, u] @ slow[1][t, j]
                loss = loss + ((1 - s) ** 2 if known[u, j] else w * s**2)
                norm = norm + (slow[1][t, j] @ slow[1][t, j] if known[u, j] else 0)
            total = total + loss
            assert losses[t, b].item() == pytest.approx(loss.item(), rel=1e-4)
            assert squares[t, b].item() == pytest.approx(norm.item() / 2, rel=1e-4)
    for gradient, expected in zip(gradients, torch.autograd.grad(total, slow), strict=True):
        assert torch.allclose(gradient.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_trial_has_the_same_bits_beside_mates_whose_users_have_more_items(toy):
    _, positives, tables, users = toy
    users = users.clone()
    users[1] = torch.arange(U - B, U)  # those with the longest rows
    packed = whole_data(positives, [0.1, 0.2, 0.3])(
        Encoded(*tables), Encoded(*tables), users, nothing(users)
    )
    all_gradients = torch.autograd.grad(packed[0].sum() + packed[1].sum(), tables)
    for t in (0, 2):
        trial_tables = [table.detach()[t : t + 1].requires_grad_() for table in tables]
        trial_users = users[t : t + 1]
        losses, squares = whole_data(positives, [0.1 * (t + 1)])(
            Encoded(*trial_tables), Encoded(*trial_tables), trial_users, nothing(trial_users)
        )
        assert torch.equal(losses[0], packed[0][t]) and torch.equal(squares[0], packed[1][t])
        gradients = torch.autograd.grad(losses.sum() + squares.sum(), trial_tables)
        assert all(
            torch.equal(g[0], whole[t]) for g, whole in zip(gradients, all_gradients, strict=True)
        )


def test_places_that_are_not_filled_count_for_nothing(toy, monkeypatch):
    _, positives, tables, users = toy
    loss = whole_data(positives, [0.3] * T)
    before = loss(Encoded(*tables), Encoded(*tables), users, nothing(users))
    listed = positives.of(users)

    def roomier(users):
        items, owner, inside = listed
        pad = torch.nn.functional.pad
        return pad(items, (0, 9)), pad(owner, (0, 9), value=B - 1), pad(inside, (0, 9))

    monkeypatch.setattr(positives, "of", roomier)
    after = loss(Encoded(*tables), Encoded(*tables), users, nothing(users))
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert roomier(users)[2].sum() == sum(
        int(positives.indptr[u + 1] - positives.indptr[u]) for u in users.flatten()
    )


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_the_listed_items_are_those_of_the_users_in_order(engine):
    known = np.random.default_rng(1).random((U, I)) < 0.3
    positives = Positives(np.argwhere(known), U, I, engine=engine)
    users = torch.tensor([[3, 0, 7], [1, 1, 5]])
    items, owner, inside = positives.of(users)
    for t in range(2):
        expected = [
            (b, j)
            for b, u in enumerate(users[t].tolist())
            for j in np.flatnonzero(known[u]).tolist()
        ]
        got = list(zip(owner[t].tolist(), items[t].tolist()))
        assert got[: len(expected)] == expected
        assert inside[t].tolist() == [True] * len(expected) + [False] * (len(got) - len(expected))
    assert positives.longest[:3].sum() >= items.shape[1]


@pytest.mark.parametrize("pairs", ["all", "matched"])
def test_the_group_hinge_is_the_sum_over_its_pairs_and_so_is_its_gradient(toy, pairs):
    _, _, tables, users = toy
    gammas, generator, N = [0.0, 1.0, 2.5], torch.Generator().manual_seed(1), 3
    loss = build(
        [
            make_config("sampler=gdns", f"loss.gamma={g}", f"loss.pairs={pairs}")["loss"]
            for g in gammas
        ]
    )
    items, positives = (torch.randint(0, I, (T, B, N), generator=generator) for _ in range(2))
    encoded = Encoded(*tables)
    losses, squares = loss(encoded, encoded, users, Negatives(items, positives=positives))
    gradients = torch.autograd.grad(losses.sum() + squares.sum(), tables)
    slow, total = [table.detach().double().requires_grad_() for table in tables], 0.0
    for t, gamma in enumerate(gammas):
        for b in range(B):
            q = slow[0][t, users[t, b]]
            group, negatives = positives[t, b].tolist(), items[t, b].tolist()
            chosen = (
                [(i, j) for i in group for j in negatives]
                if pairs == "all"
                else list(zip(group, negatives, strict=True))
            )
            value = sum(
                torch.clamp(q @ slow[1][t, j] - q @ slow[1][t, i] + gamma, min=0) for i, j in chosen
            )
            norm = q @ q + sum(slow[1][t, j] @ slow[1][t, j] for j in group + negatives)
            assert losses[t, b].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-5)
            assert squares[t, b].item() == pytest.approx(norm.item() / 2, rel=1e-4)
            total = total + value + norm / 2
    for gradient, expected in zip(gradients, torch.autograd.grad(total, slow), strict=True):
        assert torch.allclose(gradient.double(), expected, rtol=1e-3, atol=1e-3)
