"""A published split of three users, as its author's files."""

import hashlib

import pytest

from tests.conftest import make_config

TRAIN, TEST = b"0 1 2 3\n1 0 2\n2 4 5 6\n", b"0 5\n1 4\n2 0\n"


@pytest.fixture
def toy(tmp_path):
    """A published split in a mirror, with its checksums."""
    (tmp_path / "mirror").mkdir()
    files = {}
    for name, content in (("train", TRAIN), ("test", TEST)):
        (tmp_path / "mirror" / f"{name}.txt").write_bytes(content)
        files[name] = {
            "name": f"{name}.txt",
            "mirror": f"{name}.txt",
            "url": f"https://example.org/{name}.txt",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    source = {"reader": "adjacency", "licence": "none", "files": files}
    dataset = {"name": "toy", "source": "author", "sources": {"author": source}}
    return dataset, make_config()["protocol"], tmp_path / "cache", tmp_path / "mirror"
