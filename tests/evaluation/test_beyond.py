"""Measures beyond accuracy, against slow loops; the lists that they are made of."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from hapens_bench.evaluation.beyond import BeyondAccuracy, popularity_groups
from hapens_bench.evaluation.ranking import FullRanking
from hapens_bench.kernels import Engine, cpu
from tests.evaluation.conftest import random_vectors

U, I, K = 40, 60, 5


@pytest.fixture
def scene():
    generator = np.random.default_rng(3)
    known = generator.random((U, I)) < np.linspace(0.02, 0.4, I)
    known[:, 0] = False  # an item that nobody has
    wanted = (generator.random((U, I)) < 0.05) & ~known
    train, targets = np.argwhere(known), np.argwhere(wanted)
    users = np.unique(targets[:, 0])
    scores = np.where(known, -np.inf, generator.standard_normal((U, I)))[users]
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :K].astype(np.int32)
    hits = wanted[users[:, None], lists]
    return train, targets, users, lists, hits


def groups_of(train):
    counts, group, seen = Counter(train[:, 1].tolist()), {}, 0
    for item in sorted(range(I), key=lambda i: (-counts[i], i)):
        left = len(train) - seen - counts[item]
        group[item] = 0 if seen < 0.2 * len(train) else 2 if left < 0.2 * len(train) else 1
        seen += counts[item]
    return group


def test_the_measures_are_those_of_slow_loops(scene):
    train, targets, users, lists, hits = scene
    found = BeyondAccuracy(train, targets, I).measure(lists, hits, K)
    shown = Counter(lists.flatten().tolist())
    times = [shown[i] for i in range(I)]
    assert found[f"Coverage@{K}"] == len(shown) / I
    pairs = sum(abs(a - b) for a in times for b in times)
    assert found[f"Gini@{K}"] == pytest.approx(pairs / (2 * I * sum(times)))
    counts = Counter(train[:, 1].tolist())
    known = [counts[i] / len(set(train[:, 0].tolist())) for i in lists.flatten().tolist()]
    assert found[f"Popularity@{K}"] == pytest.approx(np.mean(known))

    group, divergences = groups_of(train), []
    for user, items in zip(users.tolist(), lists.tolist(), strict=True):
        mine = Counter(group[i] for i in train[train[:, 0] == user, 1].tolist())
        if not mine:
            continue
        theirs = Counter(group[i] for i in items)
        p, q = ({g: c[g] / c.total() for g in range(3)} for c in (mine, theirs))
        m = {g: (p[g] + q[g]) / 2 for g in range(3)}
        kl = [sum(x[g] * math.log2(x[g] / m[g]) for g in range(3) if x[g]) for x in (p, q)]
        divergences.append(sum(kl) / 2)
    assert found[f"Calibration@{K}"] == pytest.approx(np.mean(divergences))

    for g, name in enumerate(("Head", "Mid", "Tail")):
        of = sum(group[i] == g for i in targets[:, 1].tolist())
        hit = sum(group[i] == g for i in lists[hits].tolist())
        assert found[f"Recall{name}@{K}"] == pytest.approx(hit / of)


def test_a_shorter_cut_off_reads_the_beginning_of_the_lists(scene):
    train, targets, _, lists, hits = scene
    beyond = BeyondAccuracy(train, targets, I)
    assert beyond.measure(lists, hits, 2) == beyond.measure(lists[:, :2], hits[:, :2], 2)


def test_extremes():
    train = np.argwhere(np.ones((4, 8), dtype=bool))
    targets = np.stack([np.arange(4), np.zeros(4, dtype=int)], 1)
    same = np.zeros((4, 1), dtype=np.int32)
    beyond = BeyondAccuracy(train, targets, 8)
    found = beyond.measure(same, np.zeros((4, 1), dtype=bool), 1)
    assert found["Coverage@1"] == 1 / 8 and found["Gini@1"] == 7 / 8 and found["Popularity@1"] == 1
    spread = np.arange(8, dtype=np.int32).reshape(4, 2)
    found = beyond.measure(spread, np.zeros((4, 2), dtype=bool), 2)
    assert found["Coverage@2"] == 1 and found["Gini@2"] == 0


def test_lists_without_items_have_no_popularity():
    train = np.array([[0, 0], [1, 1]])
    empty = np.full((2, 3), -1, dtype=np.int32)
    found = BeyondAccuracy(train, train, 2).measure(empty, empty >= 0, 3)
    assert found["Coverage@3"] == 0 and found["Gini@3"] == 0
    assert np.isnan(found["Popularity@3"]) and np.isnan(found["Calibration@3"])


def test_every_item_has_one_group_and_the_head_is_the_most_popular():
    counts = np.array([1, 50, 3, 20, 20, 1, 5, 0])
    assert popularity_groups(counts).tolist() == [2, 0, 2, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("n_items", [1, 5, 63, 64, 130, 1000])
@pytest.mark.parametrize("K", [1, 5, 20, 200])
@pytest.mark.parametrize("levels", [2, 1000])
def test_lists_are_those_of_a_stable_sort(n_items, K, levels):
    K = min(K, n_items)
    generator = np.random.default_rng(n_items + K)
    scores = generator.integers(0, levels, (30, n_items)).astype(np.float32)
    scores[generator.random(scores.shape) < 0.1] = -np.inf
    scores[generator.random(scores.shape) < 0.05] = np.nan
    scores[0] = -np.inf
    lists = torch.full((32, K), -1, dtype=torch.int32)
    cpu.top_lists(torch.from_numpy(scores), 2, lists)
    assert (lists[:2] == -1).all()
    for row, items in zip(scores, lists[2:].tolist(), strict=True):
        usable = [i for i in range(n_items) if row[i] > -np.inf]
        expected = sorted(usable, key=lambda i: (-row[i], i))[:K]
        assert items == expected + [-1] * (K - len(expected))


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("together", [None, 1])
def test_a_ranking_measures_the_lists_it_ranks(scene, engine, together):
    train, targets, users, _, _ = scene
    tables = random_vectors(np.random.default_rng(1), (3, U + I, 4), 3)
    beyond = BeyondAccuracy(train, targets, I)
    metrics = [f"Recall@{K}", "NDCG@9"]
    ranking = FullRanking(
        train, targets, U, I, metrics, torch.device("cpu"), 1, engine, beyond=beyond
    )
    ranking.together = together
    known, wanted = np.zeros((U, I), bool), np.zeros((U, I), bool)
    known[tuple(train.T)], wanted[tuple(targets.T)] = True, True
    for t, result in enumerate(ranking.evaluate(tables[:, :U], tables[:, U:])):
        scores = np.where(known, -np.inf, (tables[t, :U] @ tables[t, U:].T).numpy())[users]
        lists = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        expected = beyond.measure(lists, wanted[users[:, None], lists], K)
        assert result.overall == pytest.approx(expected, nan_ok=True)
        assert result.overall.keys().isdisjoint(result.mean())
        own = ranking.evaluate_scores(lambda at, t=t: tables[t, at] @ tables[t, U:].T)
        assert own.overall == pytest.approx(expected, nan_ok=True)
