"""Ranking on a GPU: the same as on a CPU, ties, masks and packs included."""

import numpy as np
import pytest
import torch

from hapens_bench.evaluation.candidates import CandidateRanking
from hapens_bench.evaluation.ranking import FullRanking
from hapens_bench.kernels import pick_engine
from tests.evaluation.conftest import random_vectors
from tests.gpu import DEVICE, marks

pytestmark = marks
CPU = torch.device("cpu")
ENGINE = pick_engine("auto", torch.device(DEVICE))
METRICS = [
    f"{kind}@{K}"
    for kind in ("Recall", "NDCG", "Precision", "HitRate", "MRR")
    for K in (1, 3, 10, 60)
]
U, I, D, T = 700, 500, 4, 5


def scene(levels):
    """Vectors of small whole numbers have exact scores on any device, and many ties."""
    generator = np.random.default_rng(4)
    vectors = random_vectors(generator, (T, U + I, D), levels)
    known = generator.random((U, I)) < 0.1
    targets = (generator.random((U, I)) < 0.05) & ~known
    return vectors[:, :U], vectors[:, U:], np.argwhere(known), np.argwhere(targets)


def same(here, there):
    for mine, theirs in zip(here, there, strict=True):
        assert torch.equal(mine.users, theirs.users)
        assert all(
            torch.allclose(mine.values[m], theirs.values[m], rtol=0, atol=1e-12)
            for m in mine.values
        )


@pytest.mark.parametrize("together", [None, 1, 3])
def test_full_ranking(together):
    users, items, known, targets = scene(3)
    here = FullRanking(known, targets, U, I, METRICS, CPU, 1).evaluate(users, items)
    ranking = FullRanking(known, targets, U, I, METRICS, torch.device(DEVICE), 1, ENGINE)
    ranking.together = together
    same(here, ranking.evaluate(users.to(DEVICE), items.to(DEVICE)))


def test_candidate_ranking():
    users, items, _, targets = scene(3)
    targets = targets[np.unique(targets[:, 0], return_index=True)[1]]
    negatives = np.random.default_rng(1).integers(0, I, (U, 20))
    here = CandidateRanking(targets, negatives, METRICS, CPU, 1).evaluate(users, items)
    there = CandidateRanking(targets, negatives, METRICS, torch.device(DEVICE), 1, ENGINE)
    same(here, there.evaluate(users.to(DEVICE), items.to(DEVICE)))
