import numpy as np
import pandas as pd
import pytest

from hapens_bench.analysis.replicates import Replicates, compare, standing
from hapens_bench.runs.folder import RunFolder


@pytest.fixture
def setting(tmp_path):
    """Runs of a setting: a user's score is her level, plus the setting's shift, plus noise."""

    def make(name: str, shift: float, seeds=range(4), users: int = 200) -> Replicates:
        runs = []
        for seed in seeds:
            rng = np.random.default_rng(seed + sum(map(ord, name)))
            scores = np.random.default_rng(7).random(users) + shift + rng.normal(0, 0.05, users)
            folder = RunFolder(tmp_path / f"{name}{seed}")
            folder.write_users(
                pd.DataFrame({"selection": "valid", "user": range(users), "Recall@20": scores})
            )
            report = {"epoch": 1, "converged": True, "test": {"Recall@20": float(scores.mean())}}
            runs.append({"seed": seed, "folder": str(folder.path), "selection": {"valid": report}})
        return Replicates(runs)

    return make


def test_scores_by_seed_and_by_user_have_the_same_mean(setting):
    one = setting("a", 0.1)
    seeds = one.by_seed("valid", "Recall@20")
    assert len(seeds) == 4 and len(one.by_user("valid", "Recall@20", [0, 2])) == 200
    assert one.by_user("valid", "Recall@20", [0, 2]).mean() == pytest.approx(
        (seeds[0] + seeds[2]) / 2
    )
    assert one.by_seed("test_peak", "Recall@20") == {} and one.by_seed("valid", "NDCG@5") == {}


def test_only_common_seeds_are_compared(setting):
    seeds, users = compare(
        setting("a", 0.1), setting("b", 0.0, seeds=[2, 3, 9]), "valid", "Recall@20"
    )
    assert seeds.n == 2 and users.n == 200 and seeds.difference == pytest.approx(users.difference)
    seeds, users = compare(setting("a", 0.1), setting("c", 0.0, seeds=[9]), "valid", "Recall@20")
    assert seeds.words == users.words == "n = 0 seeds: no test"


def test_the_best_must_beat_every_other(setting):
    clear = standing(
        {"a": setting("a", 0.3), "b": setting("b", 0.1), "c": setting("c", 0.0)},
        "valid",
        "Recall@20",
    )
    assert (clear.best, clear.second) == ("a", "b") and clear.seeds < 0.05 and clear.users < 0.05
    assert clear.gain == pytest.approx(100 * 0.2 / 0.6, rel=0.1)
    close = standing(
        {"a": setting("a", 0.3), "b": setting("b", 0.2995), "c": setting("c", 0.0)},
        "valid",
        "Recall@20",
    )
    assert close.seeds > 0.05 and close.users > 0.05  # though it beats c


def test_without_seeds_to_test_it_says_so(setting):
    single = standing(
        {"a": setting("a", 0.3, seeds=[0]), "b": setting("b", 0.1)}, "valid", "Recall@20"
    )
    assert np.isnan(single.seeds) and single.users < 0.05 and single.words == "n = 1 seeds: no test"
    assert standing({"a": setting("a", 0.3)}, "valid", "Recall@20").second is None
    assert standing({"a": Replicates([])}, "valid", "Recall@20") is None


def test_of_a_measure_of_all_lists_less_may_be_better_and_no_user_is_tested(setting):
    settings = {"a": setting("a", 0.3), "b": setting("b", 0.1)}
    for replicates in settings.values():
        for run in replicates.runs:
            test = run["selection"]["valid"]["test"]
            test["Gini@20"] = test["Coverage@20"] = test["Recall@20"]
    by_gini = standing(settings, "valid", "Gini@20")
    assert by_gini.best == "b" and by_gini.gain < 0 and by_gini.seeds < 0.05
    assert np.isnan(by_gini.users) and by_gini.words == "users: a measure of all lists together"
    assert standing(settings, "valid", "Coverage@20").best == "a"
