"""The models that are fitted against direct solutions, on real pairs and at convergence."""

import numpy as np
import pytest
import torch

from hapens_bench.launch.job import load_split
from hapens_bench.models.ease import EASE
from hapens_bench.models.fitted import train_matrix
from hapens_bench.models.ials import IALS
from hapens_bench.models.itemknn import ItemKNN
from tests.conftest import make_config
from tests.models.fitted import dense, toy

N_ITEMS = 400  # the most popular ones of ML-1M


@pytest.fixture(scope="module")
def popular(mirror, tmp_path_factory):
    """Train pairs of ML-1M on its most popular items, and their number of users."""
    cache = f"paths.cache={tmp_path_factory.mktemp('cache')}"
    split = load_split(make_config("dataset=ml-1m", "protocol=ahns", cache))
    items = np.argsort(-np.bincount(split.train[:, 1]), kind="stable")[:N_ITEMS]
    place = np.full(split.n_items, -1)
    place[items] = np.arange(N_ITEMS)
    pairs = np.stack([split.train[:, 0], place[split.train[:, 1]]], 1)
    return pairs[pairs[:, 1] >= 0], split.n_users


@pytest.mark.parametrize("lam", [1.0, 300.0])
def test_ease_on_real_pairs_is_the_direct_solution(popular, lam):
    pairs, n_users = popular
    model = EASE(train_matrix(pairs, n_users, N_ITEMS), 0, lam=lam)
    model.fit()
    X = dense(pairs, n_users, N_ITEMS)
    P = np.linalg.inv(X.T @ X + lam * np.eye(N_ITEMS))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0)
    assert np.abs(model.B - B).max() < 2e-5 and np.abs(B).max() > 0.05
    scores = model.scores(torch.arange(200)).numpy()
    assert np.allclose(scores, X[:200] @ B, atol=1e-4)


def test_itemknn_on_real_pairs_is_a_slow_loop(popular):
    pairs, n_users = popular
    model = ItemKNN(train_matrix(pairs, n_users, N_ITEMS), 0, k=20, shrink=50)
    model.fit()
    X = dense(pairs, n_users, N_ITEMS)
    W = np.zeros((N_ITEMS, N_ITEMS))
    for i in range(N_ITEMS):
        c = np.zeros(N_ITEMS)
        for j in range(N_ITEMS):
            if j != i:
                c[j] = X[:, i] @ X[:, j] / (np.sqrt(X[:, i].sum() * X[:, j].sum()) + 50)
        near = np.argsort(-c, kind="stable")[:20]
        W[near, i] = c[near]
    assert np.allclose(model.scores(torch.arange(300)).numpy(), X[:300] @ W, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "keys",
    [
        {"D": 4, "alpha0": 0.1, "lam": 0.05, "nu": 1, "std": 0.1},
        {"D": 5, "alpha0": 1.5, "lam": 0.5, "nu": 0.3, "std": 1},
    ],
)
def test_ials_comes_to_rest_where_the_written_objective_has_no_slope(keys):
    X = torch.from_numpy(dense(toy()))
    model = IALS(train_matrix(toy(), 40, 25), 3, **keys, cg=None)
    alpha0, lam, nu = keys["alpha0"], keys["lam"], keys["nu"]

    def slope():
        P, Q = (x.double().clone().requires_grad_() for x in (model.user, model.item))
        S = P @ Q.T
        loss = (X * (S - 1) ** 2).sum() + alpha0 * S.square().sum()
        for table, count, n in ((P, X.sum(1), 25), (Q, X.sum(0), 40)):
            loss = loss + lam * ((count + alpha0 * n) ** nu * table.square().sum(1)).sum()
        return [float(g.abs().max()) for g in torch.autograd.grad(loss, (P, Q))]

    model.fit()
    first = slope()
    assert first[1] < 1e-4 < first[0]  # the items are at their minimum given the users
    for _ in range(3000):
        model.fit()
    assert max(slope()) < 1e-3 * first[0] and model.item.abs().max() > 0.1


def test_ials_has_the_objective_of_the_implicit_package():
    """With nu = 0: implicit weighs observed pairs by c and all others by 1.

    implicit: sum_u x_u^T Y^T Y x_u + sum_S (c - 2 c s + (c - 1) s^2) + reg (|X|^2 + |Y|^2), which
    is sum over all pairs of c_ui (p_ui - s_ui)^2 and L2. Ours is alpha0 / (1 + alpha0)^2 times that
    plus a constant, for c = (1 + alpha0) / alpha0, reg = lam c and vectors sqrt(1 + alpha0) times
    as long.
    """
    alpha0, lam, pairs = 0.2, 0.7, toy()
    keys = {"D": 4, "alpha0": alpha0, "lam": lam, "nu": 0, "std": 1, "cg": None}
    model = IALS(train_matrix(pairs, 40, 25), 3, **keys)
    losses = []
    for _ in range(3):
        ours = model.fit()["train/loss"] * len(pairs)
        c = (1 + alpha0) / alpha0
        X, Y = ((1 + alpha0) ** 0.5 * x.double().numpy() for x in (model.user, model.item))
        loss = lam * c * (np.square(X).sum() + np.square(Y).sum())
        for u, x in enumerate(X):
            loss += x @ (Y.T @ Y) @ x
            for i in pairs[pairs[:, 0] == u, 1]:
                s = x @ Y[i]
                loss += c - 2 * c * s + (c - 1) * s**2
        losses.append(alpha0 / (1 + alpha0) ** 2 * (loss + len(pairs) * (1 + alpha0)))
        assert ours == pytest.approx(losses[-1], rel=1e-6)
    assert losses[2] < losses[1] < losses[0]
