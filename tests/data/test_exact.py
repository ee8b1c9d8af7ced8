"""Ids, times and ratings are taken exactly, or refused with their row."""

import pyarrow as pa
import pytest

from hapens_bench.data.exact import BadValue, dense, first_bad, id_texts, ratings, times


def test_ids_are_numbered_by_first_appearance():
    numbers, ids = dense(id_texts(pa.array(["b", "a", "b", "07", "7"])))
    assert numbers.tolist() == [0, 1, 0, 2, 3] and ids.tolist() == ["b", "a", "07", "7"]
    big = pa.array([2**63 + 1, 2**63], pa.uint64())
    assert dense(id_texts(big))[1].tolist() == [str(2**63 + 1), str(2**63)]


@pytest.mark.parametrize(
    ("texts", "units", "digits"),
    [
        (["-3", " 12 ", "9223372036854775807"], [-3, 12, 2**63 - 1], 0),
        (["1.5", "-0.25", "2"], [1500, -250, 2000], 3),
        (["1.000000001", "-1.0"], [10**9 + 1, -(10**9)], 9),
        (["7.0", "8"], [7, 8], 0),
        (["1970-01-01", "1970-01-02"], [0, 86_400 * 10**9], -1),
        (["1970-01-01T01:00+01:00", "1970-01-01 00:00:00.000000001Z"], [0, 1], -1),
    ],
)
def test_times_are_whole_numbers_of_the_smallest_unit_that_is_exact(texts, units, digits):
    found, after_point = times(pa.array(texts))
    assert found.tolist() == units and after_point == digits


@pytest.mark.parametrize(
    "texts", [["1e3"], ["1_0"], ["0x1"], ["+1"], [""], ["1.0000000001"], ["99999999999.123456789"]]
)
def test_other_times_are_refused_with_their_row(texts):
    with pytest.raises(BadValue) as caught:
        times(pa.array(["1", "2", *texts]))
    assert caught.value.row == 2


def test_ratings_are_finite_numbers():
    assert ratings(pa.array(["4.5", " -1 ", "1e1"])).tolist() == [4.5, -1, 10]
    for text in ("nan", "inf", "", "five", "1e999", "1_0"):
        with pytest.raises(BadValue) as caught:
            ratings(pa.array(["1", text]))
        assert caught.value.row == 1, text


@pytest.mark.parametrize("bad", range(7))
def test_the_first_bad_row_is_found(bad):
    column = pa.array(["1"] * bad + ["x"] + ["y"] * (6 - bad))
    assert first_bad(column, lambda part: part.cast(pa.int64())) == bad
