"""Every format gives the same log, plain or packed; what cannot be read is told with its line."""

import bz2
import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from hapens_bench.errors import UserError
from tests.data.own.conftest import ROWS, rows

NAMES = ["user_id", "item_id", "rating", "timestamp"]
TYPED = "\t".join(["user_id:token", "item_id:token", "rating:float", "timestamp:float"])


def frame():
    return pd.DataFrame(ROWS, columns=NAMES)


def lines(delimiter):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in ROWS)


def parquet():
    buffer = io.BytesIO()
    frame().to_parquet(buffer, index=False)
    return buffer.getvalue()


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/ratings.csv", content)
        archive.writestr("__MACOSX/ratings.csv", b"other")
    return buffer.getvalue()


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


CSV = frame().to_csv(index=False).encode()
FORMS = {
    "csv": CSV,
    "csv without a header": frame().to_csv(index=False, header=False),
    "csv from Windows": b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n") + b"\r\n  \r\n",
    "blank lines at the beginning": b"\r\n \n\n" + CSV,
    "a quoted header": CSV.replace(b"user_id", b'"user_id"'),
    "semicolons": frame().to_csv(index=False, sep=";"),
    "bars": frame().to_csv(index=False, sep="|"),
    "tsv": lines("\t"),
    "movielens": lines("::"),
    "inter": f"{TYPED}\n{lines(chr(9))}",
    "parquet": parquet(),
    "json": "\n".join(json.dumps(row) for row in frame().to_dict("records")),
    "gz": gzip.compress(CSV),
    "zip": zipped(CSV),
    "zst": zstd(CSV),
    "bz2": bz2.compress(CSV),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_log(read, form):
    own = read(FORMS[form])
    assert rows(own) == ROWS and (own.rows, own.pairs) == (4, 4)
    assert own.read.user.tolist() == [0, 1, 0, 2] and own.read.item.tolist() == [0, 1, 1, 2]


def test_the_options_that_were_guessed_read_the_same_again(read):
    for content in FORMS.values():
        guessed = read(content).options
        typed = [f"columns.{role}={column!r}" for role, column in guessed["columns"].items()]
        options = [f"{key}={guessed[key]!r}" for key in ("format", "delimiter", "header")]
        options = [text.replace("=True", "=true").replace("=False", "=false") for text in options]
        again = read(content, *options, *typed)
        assert rows(again) == ROWS and again.options == guessed


def test_adjacency_lists_and_pairs_leave_no_gaps_between_ids(read):
    own = read("7 50 3000\n\n9\n1000 50 x\n")
    assert rows(own) == [("7", "50"), ("7", "3000"), ("1000", "50"), ("1000", "x")]
    assert (own.read.n_users, own.read.n_items) == (2, 3) and own.options["format"] == "adjacency"
    pairs = read("1 50\n3 50\n3 100\n")
    assert (pairs.read.n_users, pairs.read.n_items) == (2, 2)
    assert rows(pairs) == [("1", "50"), ("3", "50"), ("3", "100")]


def test_what_was_guessed_is_told(read):
    said = " ".join(read("a,b,5,1500000000\na,c,4,1500000100\na,c,4,1500000100\n").said)
    assert "delimiter comma; no header 'a, b, 5, 1500000000'" in said
    assert "user is column 0, item is column 1, rating is column 2, time is column 3" in said
    assert "times are seconds from 2017-07-14 to 2017-07-14" in said
    assert "1 of 3 rows repeat a pair of user and item" in said
    said = " ".join(
        read(
            'who,what,note\na,x,"two\nlines"\n\nb,y,\n', "columns.user=who", "columns.item=what"
        ).said
    )
    assert "2 line breaks are blank lines or within quotation marks" in said


def test_columns_are_named_or_counted(read):
    text = "reviewer,stars,book\nann,5,b1\nbob,4,b2\n"
    for options in (
        ["columns.item=book", "columns.rating=stars"],
        ["columns.user=0", "columns.item=2", "columns.rating=1"],
    ):
        assert rows(read(text, *options)) == [("ann", "b1", 5), ("bob", "b2", 4)]
    assert read(text, "columns.item=book", "columns.rating=null").read.rating is None
    assert read(TYPED + "\na\tb\t1\t2\n", "columns.user=user_id").read.n_users == 1


def test_the_same_name_in_other_cases_and_in_amazon_and_taobao_files_is_known(read):
    amazon = '{"reviewerID": "A", "asin": "B", "reviewTime": "09 1", "unixReviewTime": 7}\n'
    assert read(amazon).options["columns"]["time"] == "unixReviewTime"
    taobao = read("1,2268318,2520377,pv,1511544070\n1,2333346,2520771,pv,1511561733\n")
    assert taobao.read.rating is None and taobao.read.time.tolist() == [1511544070, 1511561733]
    assert read("UserId,MovieId,Rating\n1,2,3.5\n").read.rating.tolist() == [3.5]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (
            "2024-05-31T18:00:00Z 2024-05-31T19:00:00+02:00 2024-05-31T18:00:00.000000001Z",
            [1, 0, 2],
        ),
        ("2024-05-31 2023-01-01 2024-06-01", [1, 0, 2]),
        ("1717171717000000003 1717171717000000001 1717171717000000002", [1, 2, 0]),
        ("1717171717.25 1717171717.125 1717171717", [2, 1, 0]),
        ("1717171717000 1717171717001 -5", [2, 0, 1]),
    ],
)
def test_times_of_every_kind_keep_their_order(read, text, order):
    text = "user;item;time\n" + "".join(f"u;i{n};{t}\n" for n, t in enumerate(text.split()))
    time = read(text, "delimiter=';'").read.time
    assert np.argsort(time).tolist() == order and len(set(time.tolist())) == 3


WRONG = {
    "u,i,r\na,b,nan\n": "line 2",
    "user,item,rating\na,b,4\na,c,nan\n": "line 3, rating: expected a number",
    "user,item,rating\na,b,4\na,c,\n": "line 3, rating: expected a number",
    "user,item,time\na,b,40\n\na,c,4e5\n": "line 4, time: expected a time",
    "user,item,time\na,b,99999999999999999999\n": "line 2, time: it does not fit into 64 bits",
    "user,item,time\na,b,2024-13-31\n": "line 2, time: there is no such time",
    "user,item,time\na,b,2024-01-31\na,b,5\n": "line 3, time: expected a date",
    "user,item,time\na,b,2024-01-31T10:00Z\na,b,2024-01-31T10:00\n": "a time zone or in none",
    "user,item\na,b\n,c\n": "line 3, user: an id is missing",
    'user,item\na,b\n"c,d\n"e,f\n': "line 3, user: an id has a line break",
    "user,item\na,b\nc\n": "line 3: expected 2 fields but found 1",
    "user,item\n": "has a header, but no rows",
    "a,b,c\nd,e,f\ng,h\n": "line 3: expected 3 fields but found 2",
    "one\ntwo\n": "its first line is one field",
    "\n \n": "is empty",
    "who,what,which\na,b,1\nc,d,2\n": "which column holds the users. It has who, what, which",
    b"a,b\n\xff,c\n": "line 2: it is no text in UTF-8",
    "a,b\n".encode("utf-16"): "neither text in UTF-8",
    b"\x28\xb5\x2f\xfdxx": "cut off or damaged",
    b"PK\x03\x04xx": "cut off or damaged",
    b"PAR1xx": "not a readable parquet file",
    b"[[1, 2]]": "one JSON list",
    '{"user": "a", "item": 1}\n{"user": "b", "item": "1"}\n': "line 2: expected a JSON object",
    '{"user": "a", "item": 5.0}\n': "line 1: .* but found 5.0",
    '{"user": "a", "item": null}\n': "line 1: .* but found null",
    '{"user": "a", "item": "\\ud800"}\n': "line 1",
    '{"user": "a", "item": "b", "rating": Infinity}\n': "line 1: .*Infinity is no number",
    '{"user": "a", "item": "b", "rating": 1e999}\n': "line 1, rating: expected a number",
    '{"user": "a", "item": ' + "[" * 100_000 + "\n": "line 1",
    '{"user": "a", "item": 1' + "0" * 5000 + "}\n": "line 1",
    '{"user": "a"}\n5\n': "which column holds the items",
    '{"user": "a", "item": "b"}\n5\n': "line 2: expected a JSON object, but found 5",
}


@pytest.mark.parametrize("content", WRONG)
def test_what_cannot_be_read_is_told_in_one_sentence(read, content):
    with pytest.raises(UserError, match=WRONG[content]) as caught:
        read(content, *(["columns.rating=2"] if content[:6] == "u,i,r\n" else []))
    assert "/file" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"user": [1.0, 2.0]}, "user: it holds double, but ids are text or whole numbers"),
        ({"user": [None, "a"]}, "row 0, user: an id is missing"),
        ({"user": [[1], [2]]}, "user: it holds list"),
        ({"time": [1.5e18, 2.0]}, "time: it holds double, which is not exact"),
        (
            {"time": pa.array([2**64 - 1, 0], pa.uint64())},
            "row 0, time: it does not fit into 64 bits",
        ),
        ({"rating": [1.0, float("nan")]}, "row 1, rating: expected a number"),
        ({"rating": [True, False]}, "rating: it holds bool"),
    ],
)
def test_parquet_columns_of_other_types_are_refused(read, column, message):
    buffer = io.BytesIO()
    table = pa.table({"user": ["a", "b"], "item": ["c", "d"]} | column)
    pq.write_table(table, buffer)
    with pytest.raises(UserError, match=message):
        read(buffer.getvalue())


def test_parquet_columns_of_every_exact_type_are_taken(read):
    big = 2**63 + 5
    table = pa.table(
        {
            "user": pa.array([big, 2**60], pa.uint64()),
            "item": pa.array(["x", "y"]).dictionary_encode(),
            "time": pa.array([2, 1], pa.timestamp("ns", "Europe/Berlin")),
            "rating": pa.array([1, 5], pa.int8()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    assert rows(read(buffer.getvalue())) == [(str(big), "x", 1.0, 2), (str(2**60), "y", 5.0, 1)]


def test_an_archive_of_several_files_is_refused(read):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "a,b\n")
        archive.writestr("b.csv", "a,b\n")
    with pytest.raises(UserError, match=r"holds 2 files \(a.csv, b.csv\)"):
        read(buffer.getvalue())
