"""Small trained runs to archive."""

from pathlib import Path

import torch

from hapens_bench.launch.job import Job
from hapens_bench.launch.run import run_pack
from hapens_bench.runs.folder import RunFolder
from tests.conftest import make_config

TINY = (
    "dataset.users=60",
    "dataset.items=300",
    "trainer.batch_size=128",
    "trainer.epochs=4",
    "trainer.eval_every=2",
)


def train(runs: Path, *overrides: str) -> RunFolder:
    """Train one tiny run below a folder."""
    job = Job(make_config(*TINY, f"paths.runs={runs}", *overrides), list(overrides))
    run_pack([job], torch.device("cpu"))
    assert job.state == "done", job.reason
    return job.folder


def files(path: Path) -> dict[str, bytes]:
    """Return the content of an archive's files."""
    return {p.name: p.read_bytes() for p in path.glob("*.parquet")}
