import pytest

from hapens_bench.tracking import background, sink, trackio


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Reset what a process prints or makes only once."""
    background.WORKERS.clear()
    for memory in (sink.warn_once, trackio.tell):
        memory.cache_clear()


@pytest.fixture(scope="session")
def one_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trackio")


@pytest.fixture
def trackio_folder(one_folder, monkeypatch):
    """The folder of Trackio in this process; the package takes only one."""
    monkeypatch.setenv("TRACKIO_DIR", str(one_folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return one_folder
