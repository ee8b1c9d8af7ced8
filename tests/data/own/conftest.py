"""Files of one's own, and what is read of them."""

import pytest

from hapens_bench.data.own.read import read_own
from tests.conftest import make_config

ROWS = [("ann", "b 1", 5), ("bob", "b,2", 3), ("ann", "b,2", 4), ("cid", "b3", 1)]
ROWS = [(*row, 1_500_000_000 + n) for row, n in zip(ROWS, (30, 20, 10, 40), strict=True)]


@pytest.fixture
def read(tmp_path):
    """Write content to a file and read it with options such as `columns.user=0`."""

    def read_content(content, *options, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        overrides = [f"dataset.{option}" for option in options]
        dataset = make_config("dataset=mine", f"dataset.path={path}", *overrides)["dataset"]
        return read_own(dataset)

    return read_content


def rows(own):
    """Return the rows as they stood in the file: user, item, rating, time."""
    log = own.read
    columns = [log.user_ids[log.user], log.item_ids[log.item], log.rating, log.time]
    return list(zip(*(c.tolist() for c in columns if c is not None), strict=True))
