"""Sweeps of small trials, and the comparison of their run folders."""

from omegaconf import OmegaConf

from hapens_bench.launch.job import Job
from hapens_bench.launch.sweep import launch, on_devices
from tests.conftest import make_config

SMALL = [
    "dataset.users=80",
    "dataset.items=300",
    "trainer.batch_size=128",
    "trainer.epochs=6",
    "trainer.eval_every=2",
]


def sweep(tmp_path, variants, *overrides, carry=None, **options):
    base = [
        *SMALL,
        f"paths.runs={tmp_path / 'runs'}",
        f"paths.cache={tmp_path / 'cache'}",
        *overrides,
    ]

    def compose(these):
        return OmegaConf.create(make_config(*base, *these))

    returns = launch(
        [[f"seed={k}", *v] for k, v in enumerate(variants)], compose, carry or on_devices(**options)
    )
    return returns, [Job(make_config(*base, *r.overrides), r.overrides) for r in returns]


def outcome(job):
    """Return what a run folder holds, without what may differ: times, pack sizes, memory."""
    summary = job.folder.read_summary()
    history = job.folder.read_frame("history").drop(columns=["seconds", "pack_size"])
    return (
        summary["selection"],
        summary["epochs_trained"],
        history.to_dict("list"),
        job.folder.read_frame("users"),
    )


def assert_equal(mine, theirs):
    for job, twin in zip(mine, theirs, strict=True):
        left, right = outcome(job), outcome(twin)
        assert left[:2] == right[:2] and left[3].equals(right[3])
        for column, values in left[2].items():
            assert repr(values) == repr(right[2][column]), column
