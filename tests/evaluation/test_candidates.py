import math

import numpy as np
import pytest
import torch

from hapens_bench.evaluation.candidates import CandidateRanking, WithFullRanking
from hapens_bench.evaluation.ranking import FullRanking
from tests.evaluation.conftest import random_vectors

CPU = torch.device("cpu")
U, I, D, C = 60, 40, 3, 25
METRICS = ["NDCG@1", "NDCG@3", "Recall@3", "MRR@10", "HitRate@30"]


def case(seed: int, levels: int | None):
    """Vectors (coarse ones give ties), targets and lists with duplicates.

    Every seventh user has no target.
    """
    generator = np.random.default_rng(seed)
    vectors = random_vectors(generator, (3, U + I, D), levels)
    targets = np.array([(u, generator.integers(I)) for u in range(U) if u % 7])
    negatives = generator.integers(0, I, (U, C))
    return vectors[:, :U], vectors[:, U:], targets, negatives


def slow(target: float, others: list[float], name: str) -> float:
    kind, K = name.split("@")
    if all(other == target for other in others):
        return 0.0
    rank = 1 + sum(other > target for other in others)
    if rank > int(K):
        return 0.0
    return {"NDCG": 1 / math.log2(rank + 1), "MRR": 1 / rank}.get(kind, 1.0)


@pytest.mark.parametrize("levels", [None, 2, 4])
def test_equal_to_a_slow_loop_with_and_without_ties(levels, engine):
    users, items, targets, negatives = case(1, levels)
    assert any(len(set(row)) < C for row in negatives.tolist()), "lists with duplicates"
    results = CandidateRanking(targets, negatives, METRICS, CPU, 1, engine).evaluate(users, items)
    for t, result in enumerate(results):
        assert result.users.tolist() == sorted(u for u, _ in targets)
        scores = (users[t] @ items[t].T).tolist()
        for metric in METRICS:
            expected = [
                slow(scores[u][i], [scores[u][j] for j in negatives[u]], metric)
                for u, i in sorted(targets.tolist())
            ]
            assert np.allclose(result.values[metric], expected, atol=1e-12), metric


def test_ties_favour_the_target_and_duplicates_count_twice(engine):
    users, items = torch.ones(1, 3, 1), torch.tensor([[[1.0], [1.0], [2.0], [0.0]]])
    targets = np.array([[0, 0], [1, 0], [2, 0]])
    negatives = np.array(
        [[1, 1, 3], [2, 3, 3], [2, 2, 1]]
    )  # ranks 1 (two ties), 2, 3 (the same item twice)
    (result,) = CandidateRanking(targets, negatives, ["NDCG@3"], CPU, 1, engine).evaluate(
        users, items
    )
    assert result.values["NDCG@3"].tolist() == [1.0, 1 / math.log2(3), 0.5]


def test_a_model_that_scores_all_alike_or_with_no_number_finds_nothing(engine):
    _, _, targets, negatives = case(0, None)
    ranking = CandidateRanking(targets, negatives, METRICS, CPU, 1, engine)
    for value in (0.0, math.nan):
        (result,) = ranking.evaluate(torch.full((1, U, D), value), torch.ones(1, I, D))
        assert all(float(values.sum()) == 0 for values in result.values.values())
    items = torch.arange(I).float()[None, :, None].repeat(1, 1, D)
    items[0, targets[0, 1]] = math.nan
    (result,) = ranking.evaluate(torch.ones(1, U, D), items)
    assert result.values["HitRate@30"][0] == 0


def test_results_do_not_depend_on_memory_nor_on_pack_mates(engine):
    users, items, targets, negatives = case(2, 3)
    results = [
        CandidateRanking(targets, negatives, METRICS, CPU, memory, engine).evaluate(users, items)
        for memory in (1e-9, 1e-3, 0.005, 100)
    ]
    ranking = CandidateRanking(targets, negatives, METRICS, CPU, 1, engine)
    results.append([ranking.evaluate(users[t : t + 1], items[t : t + 1])[0] for t in range(3)])
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            assert all(torch.equal(mine.values[m], theirs.values[m]) for m in METRICS)


def test_the_full_ranking_stands_beside_under_its_own_names(engine):
    users, items, targets, negatives = case(3, None)
    candidates = CandidateRanking(targets, negatives, ["NDCG@3"], CPU, 1, engine)
    full = FullRanking(
        np.zeros((0, 2), dtype=np.int64), targets, U, I, ["NDCG@3", "Recall@20"], CPU, 1, engine
    )
    both = WithFullRanking(candidates, full).evaluate(users, items)
    for mine, one, other in zip(
        both, candidates.evaluate(users, items), full.evaluate(users, items), strict=True
    ):
        assert list(mine.values) == ["NDCG@3", "full/NDCG@3", "full/Recall@20"]
        assert torch.equal(mine.values["NDCG@3"], one.values["NDCG@3"]) and torch.equal(
            mine.users, other.users
        )
        assert torch.equal(mine.values["full/Recall@20"], other.values["Recall@20"])


def test_against_all_other_items_it_is_the_full_ranking(engine):
    users, items, targets, _ = case(4, None)
    target = dict(targets.tolist())
    negatives = np.array([[j for j in range(I) if j != target.get(u, 0)] for u in range(U)])
    one = CandidateRanking(targets, negatives, METRICS, CPU, 1, engine).evaluate(users, items)
    none = np.zeros((0, 2), dtype=np.int64)
    other = FullRanking(none, targets, U, I, METRICS, CPU, 1, engine).evaluate(users, items)
    for mine, theirs in zip(one, other, strict=True):
        assert all(torch.allclose(mine.values[m], theirs.values[m]) for m in METRICS)
