import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split
import copy
import functools
import os
from pathlib import Path

import pytest

from hapens_bench import config
from hapens_bench.kernels.cpu import set_threads

SHIPPED = config.conf_dir()
set_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


@pytest.fixture(scope="session")
def mirror() -> Path:
    folder = os.environ.get("HAPENS_MIRROR")
    if not folder:
        pytest.skip("HAPENS_MIRROR is unset: this test needs the real data files")
    return Path(folder)


def make_config(*overrides: str) -> dict:
    """Compose a config; the shipped one only once for equal overrides and environment, which is a fifth of the suite's time."""
    if config.conf_dir() != SHIPPED:
        return config.compose_config(overrides)
    around = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return copy.deepcopy(_composed(overrides, frozenset(around.items())))


@functools.cache
def _composed(overrides: tuple[str, ...], _environment: frozenset) -> dict:
    return config.compose_config(overrides)
