import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split
import os
from pathlib import Path

import pytest

from hapens_bench.config import compose_config
from hapens_bench.kernels.cpu import set_threads

set_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


@pytest.fixture(scope="session")
def mirror() -> Path:
    folder = os.environ.get("HAPENS_MIRROR")
    if not folder:
        pytest.skip("HAPENS_MIRROR is unset: this test needs the real data files")
    return Path(folder)


def make_config(*overrides: str) -> dict:
    return compose_config(overrides)
