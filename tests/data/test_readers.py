import gzip
import json
import pickle
import zipfile
from collections import defaultdict

import numpy as np
import pytest

from hapens_bench.data import readers
from hapens_bench.errors import UserError


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(log):
    return list(zip(log.user.tolist(), log.item.tolist(), log.time.tolist(), strict=True))


def review(**changes):
    fields = {"reviewerID": "A", "asin": "B", "overall": 5.0, "unixReviewTime": 1}
    return json.dumps(fields | changes) + "\n"


def test_large_ids_and_times_are_told_apart(tmp_path):
    ids = [2**60 + n for n in range(93)]
    text = "".join(f"{n},{n},1,pv,{n}\n" for n in ids)
    log = readers.user_behavior({"log": write(tmp_path / "log", text)})
    assert log.n_users == log.n_items == 93 and log.time.tolist() == ids
    assert log.item_ids.tolist() == [str(n) for n in ids]


def test_a_byte_order_mark_quotes_and_blank_ends_are_read_over(tmp_path):
    text = '\ufeff"user_id","item_id","time_stamp"\r\n1,"2",3\r\n\r\n  \r\n'
    assert rows(readers.tmall({"log": write(tmp_path / "log", text)})) == [(0, 0, 3)]
    text = "\ufeff1,2,3,pv,5\n\n \n"
    assert rows(readers.user_behavior({"log": write(tmp_path / "log", text)})) == [(0, 0, 5)]
    path = write(tmp_path / "log", "\ufeff" + review() + "\n \n")
    assert rows(readers.amazon({"log": path})) == [(0, 0, 1)]
    path = write(tmp_path / "list", "\ufeff0 1\n\n")
    assert readers.read_adjacency(path).tolist() == [[0, 1]]


def test_two_test_rows_of_a_user_are_refused_with_file_and_user(tmp_path):
    train = write(tmp_path / "train", "0\t1\t1\t0\n1\t2\t1\t0\n")
    test = write(tmp_path / "test", "0\t2\t1\t0\n1\t1\t1\t0\n1\t0\t1\t0\n")
    with pytest.raises(UserError, match=r"test: user 1 has 2 test items, but a leave-one-out"):
        readers.ncf({"train": train, "test": test})
    parts = {"train": [[0, 0], [1, 1]], "valid": [[0, 1]], "test": [[0, 2]], "shape": [2, 4]}
    for part, name in (("valid", "validation"), ("test", "test")):
        np.savez(tmp_path / "l.npz", **parts | {part: [*parts[part], [0, 3]]})
        with pytest.raises(UserError, match=rf"l.npz: user 0 has 2 {name} items"):
            readers.leave_one_out({"log": tmp_path / "l.npz"})


def test_gaps_in_ids_that_are_kept_are_told(tmp_path, caplog):
    train, test = write(tmp_path / "train", "1 50\n2 100\n"), write(tmp_path / "test", "1 100\n")
    readers.adjacency({"train": train, "test": test})
    assert "1 of the 3 user ids up to the largest never occur" in caplog.text
    assert "99 of the 101 item ids" in caplog.text and "dataset=mine" in caplog.text


def test_an_npz_number_beyond_64_bits_is_refused(tmp_path):
    np.savez(tmp_path / "e.npz", user=np.array([2**63], "u8"), item=[1], time=[1])
    with pytest.raises(UserError, match="user holds 9223372036854775808, which does not fit"):
        readers.events({"log": tmp_path / "e.npz"})


def test_movielens_plain_and_zipped(tmp_path):
    text = "1::1193::5::978300760\n1::661::3::978302109\n7::1193::4::978301968\n"
    plain = readers.movielens({"log": write(tmp_path / "ratings.dat", text)})
    assert rows(plain) == [(0, 0, 978300760), (0, 1, 978302109), (1, 0, 978301968)]
    assert plain.rating.tolist() == [5, 3, 4]
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", text)
    assert rows(readers.movielens({"log": tmp_path / "ml-1m.zip"})) == rows(plain)


def test_amazon_json_lines_gzipped(tmp_path):
    reviews = [
        {"reviewerID": "A1", "asin": "B0", "overall": 5.0, "unixReviewTime": 30, "summary": "ok"},
        {"reviewerID": "A2", "asin": "B0", "overall": 2.0, "unixReviewTime": 20},
        {"reviewerID": "A1", "asin": "B7", "overall": 4.0, "unixReviewTime": 10},
    ]
    path = write(
        tmp_path / "r.json.gz", gzip.compress("\n".join(map(json.dumps, reviews)).encode())
    )
    assert rows(readers.amazon({"log": path})) == [(0, 0, 30), (1, 0, 20), (0, 1, 10)]


def test_ncf_ratings(tmp_path):
    train = write(tmp_path / "a.train.rating", "0\t32\t4\t978824330\n1\t3\t1\t5\n")
    test = write(tmp_path / "a.test.rating", "0\t25\t5\t978824351\n")
    read = readers.ncf({"train": train, "test": test})
    assert read.train.tolist() == [[0, 32], [1, 3]] and read.test.tolist() == [[0, 25]]
    assert (read.n_users, read.n_items) == (2, 33)


def test_adjacency_keeps_ids_and_allows_users_without_items(tmp_path):
    train = write(tmp_path / "train.txt", "0 5 2\n1\n2 9\n\n")
    test = write(tmp_path / "test.txt.gz", gzip.compress(b"3 1\n"))
    read = readers.adjacency({"train": train, "test": test})
    assert read.train.tolist() == [[0, 5], [0, 2], [2, 9]] and read.test.tolist() == [[3, 1]]
    assert (read.n_users, read.n_items) == (4, 10)


def test_user_behavior_counts_every_behaviour(tmp_path):
    text = (
        "100,2268318,2520377,pv,1511544070\n"
        "100,2333346,2520771,buy,1511561733\n"
        "115,2268318,149192,fav,1511572885\n"
    )
    log = readers.user_behavior({"log": write(tmp_path / "UserBehavior.csv", text)})
    assert rows(log) == [(0, 0, 1511544070), (0, 1, 1511561733), (1, 0, 1511572885)]


def test_tmall_reads_its_header(tmp_path):
    text = "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type\n"
    text += "328862,323294,833,2882,2660.0,829,0\n328862,844400,1271,2882,,829,2\n"
    log = readers.tmall({"log": write(tmp_path / "log.csv", text)})
    assert rows(log) == [(0, 0, 829), (0, 1, 829)]
    with pytest.raises(UserError, match="lacks item_id, time_stamp"):
        readers.tmall({"log": write(tmp_path / "other.csv", "user_id,day\n1,2\n")})


def test_events_npz(tmp_path):
    np.savez(
        tmp_path / "e.npz", user=[5, 5, 2], item=[1, 0, 1], time=[3, 2, 1], behaviour=[0, 0, 0]
    )
    assert rows(readers.events({"log": tmp_path / "e.npz"})) == [(0, 0, 3), (0, 1, 2), (1, 0, 1)]


def test_consumed_keeps_ids_and_parts(tmp_path):
    parts = {"train": {0: [3, 1], 2: [0]}, "valid": {0: [4], 2: []}, "test": {2: [1]}}
    for part, lists in parts.items():
        write(tmp_path / part, pickle.dumps(defaultdict(list, lists), protocol=3))
    read = readers.consumed({part: tmp_path / part for part in parts})
    assert read.train.tolist() == [[0, 3], [0, 1], [2, 0]]
    assert (read.valid.tolist(), read.test.tolist()) == ([[0, 4]], [[2, 1]])
    assert (read.n_users, read.n_items) == (3, 5), "item 4 is in the validation part alone"
    write(tmp_path / "valid", pickle.dumps(defaultdict(list, {0: [10**6]}), protocol=3))
    with pytest.raises(UserError, match="must have few gaps"):
        readers.consumed({part: tmp_path / part for part in parts})


def test_irbenchmark_plain_and_zipped_keeps_ids(tmp_path):
    head = "user_procid\titem_procid\n"
    texts = {"train": head + "0\t2\n0\t0\n1\t1\n", "test": head + "1\t0\n"}
    plain = {part: write(tmp_path / f"{part}.tsv", text) for part, text in texts.items()}
    with zipfile.ZipFile(tmp_path / "proc.zip", "w") as archive:
        for part, text in texts.items():
            archive.writestr(f"proc/{part}.tsv", text)
    for paths in (plain, dict.fromkeys(texts, tmp_path / "proc.zip")):
        read = readers.irbenchmark(paths)
        assert (read.n_users, read.n_items) == (2, 3) and read.valid is None
        assert read.train.tolist() == [[0, 2], [0, 0], [1, 1]] and read.test.tolist() == [[1, 0]]
        assert read.train.flags.writeable and read.train.flags.c_contiguous
    for wrong, message in (
        ("user\titem\n0\t1\n", "expected rows under the header"),
        (head, "expected rows under the header"),
        (head + "0\tx\n", "line 2: expected"),
        (head + "0\t-1\n", "ids start at 0"),
        (b"PK cut", "is not an archive with a test.tsv"),
    ):
        paths = plain | {"test": write(tmp_path / "wrong", wrong)}
        with pytest.raises(UserError, match=message):
            readers.irbenchmark(paths)


def test_rows_in_order_get_their_places_for_times(tmp_path):
    np.savez(tmp_path / "o.npz", user=np.array([7, 3, 7], "u2"), item=np.array([9, 9, 1], "u2"))
    assert rows(readers.in_order({"log": tmp_path / "o.npz"})) == [(0, 0, 0), (1, 0, 1), (0, 1, 2)]
    np.savez(tmp_path / "o.npz", user=[1, 2], item=[1])
    with pytest.raises(UserError, match="2 whole numbers were expected"):
        readers.in_order({"log": tmp_path / "o.npz"})


def test_an_npz_with_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "e.npz", user=np.array([{"a": 1}], dtype=object), item=[1], time=[1])
    with pytest.raises(UserError, match="plain arrays"):
        readers.events({"log": tmp_path / "e.npz"})


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        ("movielens", "1::2::5::9\n1::x::5::9\n", "line 2: expected"),
        ("movielens", "1::2::5\n", "line 1: expected"),
        ("movielens", b"PK\x03\x04 not a zip", "not an archive"),
        ("amazon", '{"reviewerID": "A"}\n', "line 1: expected a JSON object"),
        (
            "amazon",
            '{"reviewerID": "A", "asin": "B", "overall": 5, "unixReviewTime": 1}\n{oops\n',
            "line 2",
        ),
        ("user_behavior", "1,2,3,pv,5\n1,2,3,pv,5.5\n", "line 2: expected"),
        ("user_behavior", "1,2,3,pv,5\n1,2\n", "line 2: expected"),
        ("user_behavior", "1,2,3,pv,5\n\n1,2,x,pv,5\n", "line 3: expected"),
        ("user_behavior", "1,2,3,pv,5,6\n1,2,3,pv,5,6\n", "line 1: expected"),
        ("user_behavior", "1,2,99999999999999999999,pv,5\n", "line 1: expected"),
        ("movielens", "1::2::::9\n", "line 1: expected"),
        ("movielens", "1::2::nan::9\n", "line 1: expected"),
        ("tmall", "user_id,item_id,time_stamp,action_type\n1,2,3\n", "line 2: expected"),
        ("tmall", "user_id,item_id,time_stamp", "no rows"),
        ("tmall", "user_id,item_id,time_stamp\n1,2,3\n1,,3\n", "line 3: expected"),
        ("user_behavior", "5,2,3,pv,5\n5.0,2,3,pv,5\n", "line 2: expected"),
        ("user_behavior", "1e3,2,3,pv,5\n", "line 1: expected"),
        ("user_behavior", "1_2,2,3,pv,5\n", "line 1: expected"),
        ("user_behavior", "1,2,3,pv,5\n0x1F,2,3,pv,5\n", "line 2: expected"),
        ("user_behavior", "1,2,3,pv,1.5e9\n", "line 1: expected"),
        ("movielens", "1::2::inf::9\n", "line 1: expected"),
        ("movielens", "1::2::1_0::9\n", "line 1: expected"),
        ("amazon", review(overall=float("inf")), "line 1: .*Infinity is no number"),
        ("amazon", review(overall=float("nan")), "line 1: .*NaN is no number"),
        ("amazon", review(overall=10**400), "line 1, overall: expected a number"),
        ("amazon", review(overall=True), "line 1: .* overall is a number, but found true"),
        ("amazon", review(overall="5"), "line 1: .* overall is a number"),
        ("amazon", review() + review(unixReviewTime=10**20), "line 2, unixReviewTime: it does not"),
        ("amazon", review(unixReviewTime=1.5), "line 1: .* but found 1.5"),
        ("amazon", review(reviewerID=[1]), r"line 1: .* but found \[1\]"),
        ("amazon", review() + review(reviewerID=None), "line 2: .* but found null"),
        ("amazon", review() + "\n" + review(reviewerID=""), "line 3, reviewerID: an id is missing"),
        ("amazon", "[" * 100_000, "line 1: expected a JSON object"),
        ("amazon", '{"a":' * 100_000, "line 1: expected a JSON object"),
        ("amazon", "5\n", "line 1: expected a JSON object, but found 5"),
        ("events", b"not an npz", "not a readable npz"),
        ("user_behavior", "", "is empty"),
        ("amazon", b"\x1f\x8b\x08\x00cut", "cut off or damaged"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, reader, content, message):
    path = write(tmp_path / "file", content)
    with pytest.raises(UserError, match=message) as caught:
        readers.READERS[reader]({"log": path})
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_bad_adjacency_line_is_named(tmp_path):
    good = write(tmp_path / "good", "0 1\n")
    for text, message in (
        ("0 1\n1 2 x\n", "line 2: expected whole numbers"),
        ("0 -1\n", "line 1: expected whole numbers from 0"),
        ("0 1_2\n", "line 1: expected whole numbers from 0"),
        ("0 99999999999999999999\n", "line 1: expected whole numbers"),
        ("0\n1\n", "holds no pair"),
        ("", "is empty"),
    ):
        with pytest.raises(UserError, match=message):
            readers.adjacency({"train": good, "test": write(tmp_path / "bad", text)})


def test_damaged_archives_are_told_in_one_sentence_wherever_the_damage_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.dat", "1::1193::5::978300760\n" * 50)
    np.savez_compressed(tmp_path / "whole.npz", user=[5, 5, 2], item=[1, 0, 1], time=[3, 2, 1])
    for reader, name in (("movielens", "whole"), ("events", "whole.npz")):
        content = (tmp_path / name).read_bytes()
        for place in range(4, len(content), 3):
            for damaged in (
                content[:place],
                content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :],
            ):
                try:
                    readers.READERS[reader]({"log": write(tmp_path / "file", damaged)})
                except UserError as error:
                    assert "\n" not in str(error)


def test_a_leave_one_out_file_that_lacks_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "l.npz", shape=[2, 2])
    with pytest.raises(UserError, match="lacks the arrays train_user"):
        readers.leave_one_out({"log": tmp_path / "l.npz"})


def test_negative_ids_in_an_ncf_file_are_refused(tmp_path):
    train = write(tmp_path / "train", "0\t-3\t1\t0\n")
    with pytest.raises(UserError, match="negative"):
        readers.ncf({"train": train, "test": train})


def test_the_raw_taobao_sample_is_read(mirror):
    log = readers.user_behavior({"log": mirror / "taobao_raw_sample" / "UserBehavior.csv.gz"})
    assert (len(log), log.n_users, log.n_items) == (84_287, 814, 55_233)
