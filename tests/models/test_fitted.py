"""The contract of the models that are fitted, without negatives."""

import itertools

import numba
import numpy as np
import pytest
import torch

from hapens_bench.config.components import component_class
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.models import ease, ials, itemknn
from hapens_bench.models.fitted import Fitted, train_matrix
from tests.conftest import make_config
from tests.models.fitted import dense, ials_objective, ials_tables, popularity, toy
from tests.models.fitted import ease as slow_ease
from tests.models.fitted import itemknn as slow_itemknn

U, I, EPOCHS = 40, 25, 3


def slow_ials(X, keys, seed):
    start = make("ials", keys, seed).item.double().numpy()
    P, Q = ials_tables(X, start, keys, EPOCHS)
    return P @ Q.T


# name: (the slow version, several values of its keys)
CASES = {
    "popularity": (popularity, [{}]),
    "itemknn": (slow_itemknn, [{"k": 3, "shrink": 0}, {"k": 100, "shrink": 12.5}]),
    "ease": (slow_ease, [{"lam": 0.5}, {"lam": 300}]),
    "ials": (
        slow_ials,
        [
            {"D": 6, "alpha0": 0.1, "lam": 0.01, "nu": 1, "std": 0.1, "cg": None},
            {"D": 30, "alpha0": 1.5, "lam": 2.0, "nu": 0.3, "std": 1, "cg": None},
            {"D": 6, "alpha0": 0.1, "lam": 0.01, "nu": 1, "std": 0.1, "cg": 2},
            {"D": 30, "alpha0": 1.5, "lam": 2.0, "nu": 0.3, "std": 1, "cg": 1},
        ],
    ),
}
EACH = [(name, keys) for name, (_, variants) in CASES.items() for keys in variants]


def make(name, keys, seed=7, pairs=None):
    cls = component_class(make_config(f"model={name}")["model"])
    assert set(keys) == set(cls.keys)
    return cls(train_matrix(toy() if pairs is None else pairs, U, I), seed, **keys)


def fitted(name, keys, seed=7, pairs=None):
    model = make(name, keys, seed, pairs)
    for _ in range(1 if model.closed_form else EPOCHS):
        model.fit()
    return model


def test_every_fitted_model_has_a_case():
    names = [path.stem for path in (conf_dir() / "model").glob("*.yaml")]
    classes = {name: component_class(make_config(f"model={name}")["model"]) for name in names}
    assert sorted(CASES) == sorted(name for name in names if issubclass(classes[name], Fitted))


@pytest.mark.parametrize(("name", "keys"), EACH)
def test_scores_equal_the_slow_version(name, keys, monkeypatch):
    for module in (ease, itemknn):  # several blocks, the last one smaller
        monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(ials, "NUMBERS", 600)
    expected = CASES[name][0](dense(toy()), keys, 7)
    users = torch.tensor([2, 0, 3, 39, 2])
    scores = fitted(name, keys).scores(users)
    assert scores.dtype == torch.float32 and scores.is_contiguous()
    assert np.allclose(scores, expected[users], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "keys"), EACH)
def test_the_seed_counts_only_where_the_start_is_drawn(name, keys):
    users = torch.arange(U)
    one, again, other = (fitted(name, keys, seed).scores(users) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == make(name, keys).closed_form


@pytest.mark.parametrize(("name", "keys"), EACH)
def test_scores_may_be_overwritten_and_do_not_depend_on_the_block(name, keys):
    model = fitted(name, keys)
    model.scores(torch.arange(U)).fill_(torch.nan)
    whole = model.scores(torch.arange(U))
    for users in torch.arange(U).split(9):
        assert torch.allclose(model.scores(users), whole[users], atol=1e-6)


@pytest.mark.parametrize(("name", "keys"), EACH)
def test_its_state_is_all_that_an_epoch_changes(name, keys):
    model = fitted(name, keys)
    before = {key: x.clone() for key, x in model.state().items()}
    assert bool(before) != model.closed_form
    first = model.fit()
    for key, x in model.state().items():
        x.copy_(before[key])
    assert model.fit() == first


def test_ials_never_rises_and_is_the_sum_over_all_pairs():
    for keys in CASES["ials"][1]:
        model, X = make("ials", keys), dense(toy())
        losses = []
        for _ in range(12):
            losses.append(model.fit()["train/loss"])
            P, Q = model.user.double().numpy(), model.item.double().numpy()
            assert losses[-1] * X.sum() == pytest.approx(ials_objective(X, P, Q, keys), rel=1e-6)
        assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(losses))
        assert losses[-1] < losses[0]


def test_ials_by_many_steps_of_conjugate_gradients_goes_to_the_minimum():
    for keys in CASES["ials"][1][:2]:
        users = torch.arange(U)
        exact, steps = (fitted("ials", {**keys, "cg": cg}).scores(users) for cg in (None, 50))
        assert torch.allclose(exact, steps, rtol=1e-3, atol=1e-4)


def test_ials_by_conjugate_gradients_does_not_depend_on_the_number_of_threads():
    keys, threads = CASES["ials"][1][2], numba.get_num_threads()
    found = []
    for n in (1, threads):
        numba.set_num_threads(n)
        found.append(fitted("ials", keys).user)
    assert all(torch.equal(found[0], x) for x in found)


def test_ials_starts_from_the_seed_with_its_deviation():
    keys = {"D": 16, "alpha0": 0.1, "lam": 0.01, "nu": 1, "std": 0.4, "cg": None}
    X = train_matrix(np.array([[0, 0]]), 2, 20_000)
    table = ials.IALS(X, 3, **keys).item
    assert abs(float(table.std()) - 0.1) < 0.001 and abs(float(table.mean())) < 0.001


def test_users_and_items_without_pairs_score_nothing():
    for name in ("itemknn", "ease", "ials"):
        scores = fitted(name, CASES[name][1][0]).scores(torch.arange(U))
        assert not scores[3].any() and not scores[:, 4:6].any()


def test_ease_factors_and_inverts_without_a_copy():
    P = ease.gram(train_matrix(toy(300, 400), 300, 400))
    np.einsum("ii->i", P)[:] += 5
    factor, failed = ease.lapack.spotrf(P.T, lower=0, clean=0, overwrite_a=1)
    inverse, failed_too = ease.lapack.spotri(P.T, lower=0, overwrite_c=1)
    assert not failed and not failed_too
    assert np.shares_memory(factor, P) and np.shares_memory(inverse, P)


def test_ease_that_cannot_be_inverted_says_so():
    pairs = np.array([[u, i] for u in range(U) for i in range(I)])
    with pytest.raises(UserError, match=r"cannot be inverted; take a larger model\.lam"):
        fitted("ease", {"lam": 1e-12}, pairs=pairs)


@pytest.mark.parametrize("name", sorted(CASES))
def test_memory_is_stated(name):
    section = make_config(f"model={name}")["model"]
    cls = component_class(section)
    small, large = (cls.n_bytes(section, 100, n_items) for n_items in (1000, 40_981))
    assert 0 < small < large
    assert name != "ease" or 6.2 < large / 2**30 < 6.5  # the docstring's number, for Gowalla
