"""Frames from Python are kept once, and read as a file is."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from hapens_bench.data.own.frame import keep_frame
from hapens_bench.data.own.read import read_own
from hapens_bench.errors import UserError
from tests.conftest import make_config
from tests.data.own.conftest import ROWS, rows

FRAME = pd.DataFrame(ROWS, columns=["reader", "book", "stars", "when"])
COLUMNS = {"user": "reader", "item": "book", "rating": "stars", "time": 3}


class HasToPandas:
    def to_pandas(self):
        return FRAME


def odd_frame():
    frame = FRAME.assign(note=[{"a": 1}, 5, None, "x"], reader=FRAME["reader"].astype("category"))
    return frame.set_index(pd.Index([9, 9, 2, 1]))


@pytest.mark.parametrize(
    "frame", [FRAME, HasToPandas(), pa.Table.from_pandas(FRAME), odd_frame()], ids=type
)
def test_a_frame_is_read_as_a_file_is(frame, tmp_path):
    overrides = keep_frame(frame, "books", COLUMNS, tmp_path)
    dataset = make_config(*overrides)["dataset"]
    assert dataset["name"] == "books" and rows(read_own(dataset)) == ROWS


def test_the_same_frame_is_kept_once(tmp_path):
    first = keep_frame(FRAME, columns=COLUMNS, cache=tmp_path)
    assert keep_frame(FRAME.copy(), columns=COLUMNS, cache=tmp_path) == first
    assert keep_frame(FRAME[::-1], columns=COLUMNS, cache=tmp_path) != first
    assert len(list(Path(tmp_path, "frames").iterdir())) == 2


@pytest.mark.parametrize(
    ("frame", "columns", "message"),
    [
        (5, {}, "a frame is needed, or what has to_pandas, not int"),
        (FRAME, {}, "the frame: which column holds the users"),
        (FRAME, {"user": "readers"}, "dataset.columns.user is 'readers', but there are"),
        (FRAME[:0], COLUMNS, "the frame has no rows"),
        (FRAME.assign(reader=[1.0, 2, 3, None]), COLUMNS, "reader: it holds double"),
        (FRAME.assign(reader=["a", "b", None, "c"]), COLUMNS, "row 2, reader: an id is missing"),
        (FRAME.assign(reader=[1, "b", 2, "c"]), COLUMNS, "a column holds values of one kind"),
        (FRAME.assign(reader=[2**70, 1, 2, 3]), COLUMNS, "numbers beyond 64 bits as text"),
        (FRAME.assign(when=[1.5, 2, 3, 4]), COLUMNS, "when: it holds double, which is not exact"),
        (pd.concat([FRAME, FRAME], axis=1), COLUMNS, "has two columns"),
    ],
)
def test_what_is_no_log_is_refused(frame, columns, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        keep_frame(frame, columns=columns, cache=tmp_path)
    assert "\n" not in str(caught.value)
