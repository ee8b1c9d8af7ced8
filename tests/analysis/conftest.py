from pathlib import Path

import pytest

from tests.analysis import chromium
from tests.analysis.synthetic import some_runs


@pytest.fixture(scope="module")
def browser():
    yield from chromium.started()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Run folders of several settings; a module may define its own."""
    root = tmp_path_factory.mktemp("runs")
    some_runs(root)
    return root
