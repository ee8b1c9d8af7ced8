"""scripts/bench/quality.py: the clock stands still for evaluations; each system has settings."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from hapens_bench.training.stage import ranking, train_pairs
from tests.conftest import make_config

FOLDER = Path(__file__).parents[2] / "scripts" / "bench"
if not FOLDER.is_dir():
    pytest.skip("a wheel has no scripts", allow_module_level=True)
sys.path[:0] = [str(FOLDER), str(FOLDER / "rivals")]
SYSTEMS = yaml.safe_load((FOLDER / "quality.yaml").read_text())


def test_the_clock_stands_still_while_a_model_is_evaluated():
    from clock import Clock, Stopped

    seen = []

    def report(clock, epochs):
        time.sleep(0.2)
        seen.append((clock.seconds, epochs))
        if len(seen) == 3:
            raise Stopped

    clock = Clock(report, growth=1.0)
    begun = time.perf_counter()
    clock.start()
    with pytest.raises(Stopped):
        for epochs in range(1, 100):
            time.sleep(0.02)
            clock.tick(epochs)
    passed = time.perf_counter() - begun
    seconds = [s for s, _ in seen]
    assert seconds == sorted(seconds) and 0.06 <= seconds[-1] <= passed - 0.4
    assert [epochs for _, epochs in seen] == [1, 2, 3]


def test_a_run_tells_where_it_first_reached_a_share_of_the_goal():
    from quality_runs import Run

    run = Run(SimpleNamespace(quality=0.2), done=lambda run: run.best >= 0.2, growth=1.05)
    found = [0.1, 0.195, 0.19, 0.21]
    goes_on = [run.add(q, seconds=n, cpu=n, epochs=n) for n, q in enumerate(found)]
    assert goes_on == [True, True, True, False]
    assert [run.first(share)["seconds"] for share in (0.95, 0.99, 1)] == [1, 3, 3]
    assert run.first(1.2) is None and run.best == 0.21


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_eight_settings_and_at_most_one_is_chosen(name):
    from quality import words

    system = SYSTEMS[name]
    settings = [words(setting) for setting in system["settings"]]
    assert len(set(settings)) == len(settings) == 8
    assert system["kind"] in ("sampler", "fitted", "rival")
    for setting in system["settings"] if "library" not in system else []:
        make_config(*system["fixed"], *setting)
    found = pd.read_csv(FOLDER / "quality_settings.csv")
    found = found[found["system"] == name]
    assert (found.groupby("dataset")["chosen"].sum() <= 1).all()
    assert [settings[n] for n in found["number"]] == found["setting"].tolist()


def test_a_sampler_is_trained_until_the_run_is_over():
    from quality_runs import CPU, Run, ours
    from workload import synthetic

    config = make_config()
    split = synthetic(60, 80, 900)
    goal = SimpleNamespace(
        dataset="planted",
        stage="full",
        split=split,
        quality=1.0,
        ranking=ranking(config, split, CPU),
        pairs=train_pairs("full", config["protocol"], split),
    )
    for overrides in (["sampler=rns", "trainer.batch_size=64"], ["model=ials"], ["model=ease"]):
        run = Run(goal, done=lambda run: len(run.curve) == 3, growth=1.0)
        ours(run, overrides)
        closed = overrides == ["model=ease"]
        assert len(run.curve) == (1 if closed else 3)
        assert all(0 <= row["quality"] <= 1 for row in run.curve) and run.setup > 0
