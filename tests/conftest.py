import os
from pathlib import Path

import pytest
import torch

from hapens_bench.config import compose_config

torch.set_num_threads(2)


@pytest.fixture
def mirror() -> Path:
    folder = os.environ.get("HAPENS_MIRROR")
    if not folder:
        pytest.skip("HAPENS_MIRROR is unset: this test needs the real data files")
    return Path(folder)


def make_config(*overrides: str) -> dict:
    return compose_config(overrides)
