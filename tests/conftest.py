import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split
import gc
import os
from pathlib import Path

import pytest

from hapens_bench import config
from hapens_bench.kernels.cpu import set_threads

SHIPPED = config.conf_dir()
compose_shipped = config.once_for_each_choice(config.unresolved)
set_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


def pytest_collection_finish() -> None:
    """Take what was imported out of the collector's way: every pack of a test collects garbage twice, and searched all of it."""
    gc.freeze()


@pytest.fixture(scope="session")
def mirror() -> Path:
    folder = os.environ.get("HAPENS_MIRROR")
    if not folder:
        pytest.skip("HAPENS_MIRROR is unset: this test needs the real data files")
    return Path(folder)


def make_config(*overrides: str) -> dict:
    """Compose a config; the shipped choices only once, which was a third of the suite's time."""
    return compose_shipped(overrides) if config.conf_dir() == SHIPPED else config.compose_config(overrides)
