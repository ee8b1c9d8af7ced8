"""Small searches on the planted data."""

from rich.console import Console

from hapens_bench.tune import loop
from hapens_bench.tune.plan import make_plan

DATA = ["dataset=planted", "dataset.users=80", "dataset.items=300", "trainer.batch_size=128"]
SMALL = [
    *DATA,
    "trainer.epochs=4",
    "trainer.eval_every=1",
    "tune.n_trials=6",
    "tune.batch=2",
    "tune.startup=2",
]
PRUNED = [*SMALL, "sampler=rns,dns", "tune.warmup=1"]


def typed(folder, *overrides):
    return [*overrides, f"paths.runs={folder / 'runs'}", f"paths.cache={folder / 'cache'}"]


def search(folder, *overrides):
    plan = make_plan("ahns", typed(folder, *overrides))
    return plan, loop.search(plan, Console(quiet=True))
