"""Sweeps of small trials, and the comparison of what they leave."""

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


def found(job):
    """All that a run folder says, less what may differ: times, pack sizes, memory."""
    summary = job.folder.read_summary()
    history = job.folder.read_frame("history").drop(columns=["seconds", "pack_size"])
    return (
        summary["selection"],
        summary["epochs_trained"],
        history.to_dict("list"),
        job.folder.read_frame("users"),
    )


def assert_equal(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        one, other = found(one), found(other)
        assert one[:2] == other[:2] and one[3].equals(other[3])
        for column, values in one[2].items():
            assert repr(values) == repr(other[2][column]), column
