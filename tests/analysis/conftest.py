import pytest

from tests.analysis import chromium


@pytest.fixture(scope="module")
def browser():
    yield from chromium.started()
