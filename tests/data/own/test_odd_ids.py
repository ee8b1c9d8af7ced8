"""Odd ids and numbers: each is kept apart from every other one, or refused in one sentence."""

import csv
import io
import json
import string

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hapens_bench.data import readers
from hapens_bench.data.own.read import read_own
from hapens_bench.errors import UserError
from tests.conftest import make_config

ODD = [
    "5.0", "5", "05", "+5", "-5", "-0", "0", "1e3", "1000", "1_2", "12", "0x1F", "31", " 5", "5 ",
    "nan", "NaN", "NA", "null", "None", "", "inf", "true", "²", "١", "é", "e\u0301", "\ufeffa",
    '"', '"5"', "'5'", "a b", "a,b", "a\tb", "a\nb", "a\rb", "#5", "5;", "::", "\x1f", "\\N",
    str(2**53), str(2**53 + 1), str(2**60), str(2**60 + 1), str(2**63), str(2**64 + 1), "9" * 40,
]  # fmt: skip
ODD += ["\t", "\r", "\x0b", "\x85", "\u2028", " ", "|", ";"]
TEXTS = st.sampled_from(ODD) | st.text(string.digits + "._-+eEx, \"'é", max_size=22)
NUMBERS = st.integers(-(2**65), 2**65) | st.sampled_from([2**53, 2**53 + 1, 2**60, 2**60 + 1])
CASES = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def written(form, rows):
    """Return rows of two texts in a format, as its own library writes them."""
    buffer = io.StringIO(newline="")
    if form == "json":
        return "\n".join(json.dumps({"user": u, "item": i}) for u, i in rows).encode()
    csv.writer(buffer, delimiter="\t" if form == "tsv" else ",").writerows(
        [("user", "item"), *rows]
    )
    return buffer.getvalue().encode()


def ids_of(form, content, path):
    path.write_bytes(content)
    name = f"dataset.format={'json' if form == 'json' else 'delimited'}"
    dataset = make_config("dataset=mine", f"dataset.path={path}", name)["dataset"]
    log = read_own(dataset).read
    return list(zip(log.user_ids[log.user], log.item_ids[log.item], strict=True))


@CASES
@example("tsv", [("5", "5"), ("", "")])
@given(st.sampled_from(["csv", "tsv"]), st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_texts_come_back_as_they_were_written(tmp_path_factory, form, rows):
    path = tmp_path_factory.getbasetemp() / "odd"
    try:
        assert ids_of(form, written(form, rows), path) == rows
    except UserError as error:
        assert "\n" not in str(error)


@CASES
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)
    | st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6)
)
def test_json_values_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "odd.json"
    try:
        found = ids_of("json", written("json", rows), path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert found == [tuple(map(str, row)) for row in rows]


@CASES
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5), st.booleans())
def test_readers_of_numbers_take_whole_numbers_as_they_are(tmp_path_factory, rows, good_first):
    path = tmp_path_factory.getbasetemp() / "log"
    rows = [("1", "2", "3")] * good_first + rows
    path.write_bytes("".join(f"{u},{i},1,pv,{t}\n" for u, i, t in rows).encode())
    try:
        log = readers.user_behavior({"log": path})
    except UserError as error:
        assert "\n" not in str(error) and ", line " in str(error)
        return
    taken = [tuple(int(field.strip(' "')) for field in row) for row in rows]
    users, items, times = zip(*taken, strict=True)
    assert log.time.tolist() == list(times)
    assert len(set(users)) == log.n_users and len(set(items)) == log.n_items


@CASES
@given(st.lists(st.one_of(NUMBERS, TEXTS, st.floats(), st.none(), st.booleans()), max_size=5))
def test_frames_keep_every_value_apart_or_are_refused(tmp_path_factory, values):
    from hapens_bench.data.own.frame import keep_frame

    try:
        frame = pa.table({"user": pa.array(values), "item": ["x"] * len(values)})
    except (pa.ArrowException, OverflowError):
        return  # arrow itself refuses a column of several kinds
    try:
        overrides = keep_frame(frame, cache=tmp_path_factory.getbasetemp())
    except UserError as error:
        assert "\n" not in str(error)
        return
    log = read_own(make_config(*overrides)["dataset"]).read
    assert log.user_ids[log.user].tolist() == [str(value) for value in values]
