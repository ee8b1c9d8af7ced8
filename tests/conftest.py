import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split
import copy
import functools
import gc
import hashlib
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from hapens_bench.config import compose as composing
from hapens_bench.config.own_files import is_own
from hapens_bench.kernels.cpu import set_threads
from tests import commands

os.environ["HAPENS_ARCHIVE"] = "ignore"  # of this process and of those that tests start
NOWHERE = "/nonexistent"
os.environ["HAPENS_CONFIG"] = NOWHERE  # a developer's own data sets are none of the tests'
SHIPPED, compose = composing.conf_dir(), composing.unresolved
SHARED = "HAPENS_TESTS_SHARE"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu` collect tests/gpu only: a GPU machine may lack what other tests import."""
    elsewhere = collection_path.suffix == ".py" and collection_path.parent.name != "gpu"
    return True if config.option.markexpr == "gpu" and elsewhere else None


def pytest_configure() -> None:
    """Make the folder in which pytest's processes share what they have composed."""
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp()


def pytest_unconfigure() -> None:
    commands.end()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True)


@functools.cache
def once(overrides: tuple[str, ...]) -> bytes:
    """Compose a config, if no other of pytest's processes has; return it pickled."""
    if os.environ["HAPENS_CONFIG"] != NOWHERE:  # its files may change
        return pickle.dumps(compose(overrides))
    path = Path(os.environ[SHARED], hashlib.sha256(repr(overrides).encode()).hexdigest())
    if not path.exists():
        own = path.with_suffix(f".{os.getpid()}")
        own.write_bytes(pickle.dumps(compose(overrides)))
        own.replace(path)
    return path.read_bytes()


def unresolved(overrides: Sequence[str]) -> DictConfig:
    """Compose each config of the shipped files once: many tests use the same ones."""
    if composing.conf_dir() != SHIPPED:
        return compose(overrides)
    keys = [override.partition("=")[0] for override in overrides]
    if all(re.fullmatch(r"\w+", key) for key in keys):  # groups, whose order does not matter
        overrides = sorted(overrides, key=lambda override: override.partition("=")[0])
    return pickle.loads(once(tuple(overrides)))


composing.unresolved = unresolved  # before others import it
make_shipped = composing.once_for_each_choice(unresolved)
made: dict[tuple, dict] = {}
gc.set_threshold(20_000, 20, 20)  # configs are many objects, and nearly all of them stay


def share_cores() -> None:
    """Keep to this process's own share of the cores, and use at most two of them.

    What it starts inherits the share. Two processes that each train with the threads of both take
    half as much again.
    """
    n = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number::n] or cores)
    set_threads(min(2, len(os.sched_getaffinity(0))))


share_cores()


@pytest.fixture(scope="session")
def mirror() -> Path:
    folder = os.environ.get("HAPENS_MIRROR")
    if not folder:
        pytest.skip("HAPENS_MIRROR is unset: this test needs the real data files")
    return Path(folder)


def make_config(*overrides: str) -> dict:
    """Return a config; those that differ only in values are composed once, which saves time."""
    if composing.conf_dir() != SHIPPED:
        return composing.compose_config(overrides)
    asked = overrides, tuple(sorted(item for item in os.environ.items() if "HAPENS" in item[0]))
    if asked not in made:
        config = make_shipped(overrides)
        if is_own(config["dataset"]):  # it holds the checksums of files, which may change
            return config
        made[asked] = config
    return copy.deepcopy(made[asked])
