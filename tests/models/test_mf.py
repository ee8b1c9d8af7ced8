import math

import pytest
import torch
from scipy import stats

from hapens_bench.kernels import Engine
from hapens_bench.models.base import rows
from hapens_bench.models.mf import MF


def make(D, seeds, n_users, n_items, similarity="dot", init="xavier", std=(1.0, 1.0)):
    scale = torch.tensor(std[: len(seeds)]).view(-1, 1, 1)
    return MF(D, similarity, init, scale, seeds, n_users, n_items)


def test_initial_values_are_xavier_uniform_by_table_and_trial():
    model = make(16, [1, 2], 300, 50)
    for table, n in ((model.user, 300), (model.item, 50)):
        bound = math.sqrt(6 / (n + 16))
        assert table.shape == (2, n, 16)
        assert table.abs().max() <= bound and table.abs().max() > 0.98 * bound
        assert abs(float(table.detach().std()) - bound / math.sqrt(3)) < 0.03 * bound
    assert not torch.equal(model.user[0], model.user[1])
    assert torch.equal(model.user[1:], make(16, [2], 300, 50).user)


def test_initial_values_are_normal_with_each_trials_deviation():
    model = make(32, [1, 2], 3000, 500, init="normal", std=(1.0, 0.05))
    for t, std in enumerate((1.0, 0.05)):
        tables = [table[t].detach().flatten() for table in (model.user, model.item)]
        for values in tables:
            assert stats.kstest(values.double().numpy(), stats.norm(scale=std).cdf).pvalue > 1e-3
        assert not torch.equal(tables[0][: len(tables[1])], tables[1]), "no number is drawn twice"
    alone = make(32, [2], 3000, 500, init="normal", std=(0.05,))
    assert torch.equal(alone.user, model.user[1:]) and torch.equal(alone.item, model.item[1:])


def test_rows_looks_up_each_trials_own_table():
    table = torch.arange(24.0).view(2, 4, 3)
    index = torch.tensor([[[0, 3]], [[1, 1]]])
    expected = torch.stack([table[t][index[t]] for t in range(2)])
    assert torch.equal(rows(table, index), expected)


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
def test_scores_and_squares_equal_plain_loops(engine):
    model = make(4, [1, 2], 5, 6)
    users, positives = torch.tensor([[0, 4], [2, 2]]), torch.tensor([[1, 5], [0, 3]])
    negatives = torch.tensor([[[2, 3], [0, 0]], [[5, 1], [4, 4]]])
    model.engine = engine
    encoded = model.encode()
    scores = encoded.score(users, negatives)
    positive, negative, squares = encoded.pairs(users, positives, negatives)
    assert model.ego(encoded) is encoded and torch.allclose(negative, scores)
    for t in range(2):
        for b in range(2):
            u, i = model.user[t, users[t, b]], model.item[t, positives[t, b]]
            js = [model.item[t, j] for j in negatives[t, b]]
            assert torch.allclose(positive[t, b], u @ i)
            assert torch.allclose(scores[t, b], torch.stack([u @ j for j in js]))
            assert torch.allclose(squares[t, b], (u @ u + i @ i + sum(j @ j for j in js)) / 2)


def test_cosine_scores_and_squares_of_the_raw_tables():
    model = make(4, [1, 2], 5, 6, similarity="cosine")
    users, items = torch.tensor([[0, 4], [2, 2]]), torch.tensor([[1, 5], [0, 3]])
    encoded = model.encode()
    positive, _, _ = encoded.pairs(users, items, items[..., None])
    squares = model.ego(encoded).pairs(users, items, items[..., None])[2]
    for t in range(2):
        for b in range(2):
            u, i = model.user[t, users[t, b]], model.item[t, items[t, b]]
            assert torch.allclose(positive[t, b], torch.cosine_similarity(u, i, dim=0))
            assert torch.allclose(squares[t, b], (u @ u + 2 * (i @ i)) / 2)
