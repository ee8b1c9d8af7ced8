import ir_measures
import numpy as np
import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.evaluation.ranking import FullRanking, top_items
from hapens_bench.metrics import parse_metric, per_user
from tests.evaluation.conftest import random_vectors

METRICS = [
    f"{kind}@{K}"
    for kind in ("Recall", "NDCG", "Precision", "HitRate", "MRR")
    for K in (1, 3, 10, 60)
]
CPU = torch.device("cpu")
U, I, D = 70, 50, 3


def case(seed: int, levels: int | None):
    """Random vectors (coarse ones give ties), and train and test pairs.

    Some users have no pairs, and some have many test items.
    """
    generator = np.random.default_rng(seed)
    vectors = random_vectors(generator, (3, U + I, D), levels)
    known = generator.random((U, I)) < 0.2
    targets = (generator.random((U, I)) < generator.random((U, 1)) * 0.6) & ~known
    targets[::7] = False
    return vectors[:, :U], vectors[:, U:], np.argwhere(known), np.argwhere(targets)


def slow(scores: np.ndarray, known: set, targets: set, name: str) -> float:
    kind, K = parse_metric(name)
    ranked = sorted((i for i in range(I) if i not in known), key=lambda i: (-scores[i], i))[:K]
    hits = [rank for rank, item in enumerate(ranked, 1) if item in targets]
    if kind == "Recall":
        return len(hits) / len(targets)
    if kind == "Precision":
        return len(hits) / K
    if kind == "HitRate":
        return float(bool(hits))
    if kind == "MRR":
        return 1 / hits[0] if hits else 0.0
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(K, len(targets)) + 1))
    return sum(1 / np.log2(rank + 1) for rank in hits) / ideal


def by_user(pairs):
    items_by_user = {}
    for user, item in pairs.tolist():
        items_by_user.setdefault(user, set()).add(item)
    return items_by_user


@pytest.mark.parametrize("levels", [None, 2, 4])
def test_equal_to_a_slow_loop_and_to_trec_eval_with_and_without_ties(levels, engine):
    users, items, known, targets = case(1, levels)
    results = FullRanking(known, targets, U, I, METRICS, CPU, 1, engine).evaluate(users, items)
    excluded, wanted = by_user(known), by_user(targets)
    # trec_eval breaks ties by descending document id: ids that fall as items rise match our rule
    name = {i: f"{I - i:04d}" for i in range(I)}
    qrels = {str(u): {name[i]: 1 for i in items_by_user} for u, items_by_user in wanted.items()}
    oracle = {
        f"{ours}@{K}": ir_measures.parse_measure(theirs.format(K=K))
        for ours, theirs in (
            ("Recall", "R@{K}"),
            ("NDCG", "nDCG@{K}"),
            ("Precision", "P@{K}"),
            ("HitRate", "Success@{K}"),
            ("MRR", "RR"),  # trec_eval has no cut-off of it; one is made below
        )
        for K in (1, 3, 10, 60)
    }
    trec_eval = ir_measures.pytrec_eval  # named, so that no other provider with other ties answers
    for t, result in enumerate(results):
        assert result.users.tolist() == sorted(wanted)
        scores = (users[t] @ items[t].T).numpy()
        run = {
            str(u): {
                name[i]: float(scores[u, i]) for i in range(I) if i not in excluded.get(u, set())
            }
            for u in wanted
        }
        theirs = {
            (m.query_id, m.measure): m.value
            for m in trec_eval.iter_calc(set(oracle.values()), qrels, run)
        }
        for metric in METRICS:
            got = result.values[metric].tolist()
            expected = [
                slow(scores[u], excluded.get(u, set()), wanted[u], metric) for u in sorted(wanted)
            ]
            assert np.allclose(got, expected, atol=1e-12), metric
            reference = [theirs[str(u), oracle[metric]] for u in sorted(wanted)]
            if metric.startswith("MRR"):
                reference = [
                    value if value >= 1 / parse_metric(metric)[1] else 0.0 for value in reference
                ]
            assert np.allclose(got, reference, atol=1e-9), metric


@pytest.mark.parametrize("levels", [None, 3])
def test_results_do_not_depend_on_the_chunk_size_nor_on_pack_mates(levels, engine):
    users, items, known, targets = case(2, levels)
    results = []
    for chunk in (16, 17, 33, 1000):
        ranking = FullRanking(known, targets, U, I, METRICS, CPU, 1, engine)
        ranking.rows = chunk
        results.append(ranking.evaluate(users, items))
    ranking = FullRanking(known, targets, U, I, METRICS, CPU, 1, engine)
    results.append([ranking.evaluate(users[t : t + 1], items[t : t + 1])[0] for t in range(3)])
    for together in (1, 2, 3):
        ranking.together = together
        results.append(ranking.evaluate(users, items))
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            assert all(torch.equal(mine.values[m], theirs.values[m]) for m in METRICS)


def test_results_do_not_depend_on_the_chunk_size_where_kernels_tile(engine):
    generator, users, items = np.random.default_rng(3), 700, 3001
    vectors = torch.from_numpy(generator.standard_normal((users + items, 64)).astype(np.float32))
    known, targets = (generator.integers(0, (users, items), (n, 2)) for n in (20_000, 6_000))
    results = []
    for chunk in (16, 17, 64, 257, 699, 1000):
        ranking = FullRanking(known, targets, users, items, METRICS, CPU, 1, engine)
        ranking.rows = chunk
        results.append(ranking.evaluate(vectors[None, :users], vectors[None, users:])[0])
    assert all(
        torch.equal(results[0].values[m], other.values[m]) for other in results[1:] for m in METRICS
    )


def test_no_targets_give_no_users(engine):
    users, items, known, _ = case(0, None)
    results = FullRanking(
        known, np.zeros((0, 2), dtype=np.int64), U, I, METRICS, CPU, 1, engine
    ).evaluate(users, items)
    assert len(results) == 3
    for result in results:
        assert len(result.users) == 0 and set(result.values) == set(METRICS)
        assert all(len(value) == 0 for value in result.values.values()) and np.isnan(
            result.mean()["Recall@1"]
        )


def test_memory_bounds_the_chunk():
    _, _, known, targets = case(0, None)
    assert FullRanking(known, targets, U, 50_000, METRICS, CPU, 16).rows == 16 * 2**20 // (
        4 * 50_000
    )
    assert FullRanking(known, targets, U, I, METRICS, CPU, 1e-9).rows == 16


def test_top_items_breaks_ties_by_item_also_at_the_cut():
    scores = torch.tensor([[1.0, 3, 3, 3, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])
    assert top_items(scores, 2)[1].tolist() == [[1, 2], [0, 1], [0, 1]]
    level = torch.zeros(9, 6)  # more tied rows than are sorted at once
    assert top_items(level, 2)[1].tolist() == [[0, 1]] * 9
    assert top_items(scores, 5)[1].tolist() == [[1, 2, 3, 4, 0], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


def test_excluded_items_never_count_even_when_few_items_are_left(engine):
    known = np.array([[0, i] for i in range(I - 1)])
    targets = np.array([[0, I - 1], [1, 0]])
    vectors = torch.zeros(1, U, D), torch.zeros(1, I, D)
    (result,) = FullRanking(
        known, targets, U, I, ["Precision@10", "HitRate@1"], CPU, 1, engine
    ).evaluate(*vectors)
    assert result.values["Precision@10"].tolist() == [0.1, 0.1] and result.values[
        "HitRate@1"
    ].tolist() == [
        1,
        1,
    ]


def test_scores_that_are_no_numbers_are_misses(engine):
    users = torch.full((1, U, D), float("nan"))
    _, items, known, targets = case(0, None)
    (result,) = FullRanking(known, targets, U, I, ["Recall@10"], CPU, 1, engine).evaluate(
        users, items[:1]
    )
    assert result.mean() == {"Recall@10": 0.0}


@pytest.mark.parametrize("name", ["Recall", "Recall@0", "AUC@5", "ndcg@5", "NDCG@x", 5])
def test_unknown_metrics_are_refused(name):
    with pytest.raises(UserError, match="Recall, NDCG, Precision, HitRate, MRR"):
        parse_metric(name)


def test_metrics_of_the_ranks_are_the_metrics_bit_for_bit_whoever_else_is_ranked():
    generator = torch.Generator().manual_seed(3)
    hits = torch.rand(40, 30, generator=generator) < 0.3
    relevant = torch.randint(1, 50, (40,), generator=generator)
    whole = per_user(hits, relevant, METRICS)
    wider = per_user(torch.cat([hits, torch.zeros(40, 70, dtype=torch.bool)], 1), relevant, METRICS)
    for name in METRICS:
        alone = [per_user(hits[k : k + 1], relevant[k : k + 1], [name])[name] for k in range(40)]
        assert torch.equal(torch.cat(alone), whole[name]), name
        assert parse_metric(name)[1] > 30 or torch.equal(wider[name], whole[name]), name


def test_a_metric_of_ones_own_is_a_function_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(
        "def twice(hits, n_relevant, K):\n    return 2 * hits.double().sum(1) / n_relevant\n"
        "def wrong(hits, n_relevant, K):\n    return hits.double().sum()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    hits, relevant = torch.eye(4, dtype=torch.bool), torch.tensor([1, 2, 3, 4])
    values = per_user(hits, relevant, ["Recall@3", "own_metrics.twice@3"])
    assert torch.equal(values["own_metrics.twice@3"], 2 * values["Recall@3"])
    with pytest.raises(UserError, match="a number for each of 4 users"):
        per_user(hits, relevant, ["own_metrics.wrong@3"])
    for name in ("own_metrics.none@3", "no_such_module.x@3"):
        with pytest.raises(UserError, match="cannot be imported"):
            parse_metric(name)
