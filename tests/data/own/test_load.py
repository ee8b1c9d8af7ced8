"""A data set of one's own is split and cached as others are; mistakes in it are told at once."""

import numpy as np
import pytest

from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from tests.conftest import make_config


def test_a_split_keeps_the_ids_of_its_files_through_filters_and_the_cache(tmp_path):
    lines = [f"{10 * u} {100 + i}" for u in range(1, 9) for i in range(u % 3 + 1, 7)]
    (tmp_path / "pairs").write_text("\n".join([*lines, "zed 101"]))
    config = make_config(
        "dataset=mine", f"dataset.path={tmp_path}/pairs", "protocol.filter.k_core=3"
    )
    for _ in range(2):
        split = load(config["dataset"], config["protocol"], tmp_path / "cache", None)
        users, items = split.called()
        pairs = np.concatenate([split.train, split.valid, split.test])
        named = {f"{users[u]} {items[i]}" for u, i in pairs}
        assert named == {line for line in lines if not line.endswith(" 101")}
        assert "zed" not in users and "101" not in items
    assert len(list((tmp_path / "cache" / "parsed").glob("*.npz"))) == 1


def own_split(tmp_path, protocol, **parts):
    overrides = []
    for part, text in parts.items():
        (tmp_path / f"{part}.csv").write_text(text)
        overrides.append(f"dataset.{part}={tmp_path}/{part}.csv")
    config = make_config("dataset=mine", f"protocol={protocol}", *overrides)
    return load(config["dataset"], config["protocol"], tmp_path / "cache", None)


def test_an_own_split_is_taken_as_it_is(tmp_path):
    train = "a x\na y\nb x\nb z\nc x\nc q\nc w\n"
    split = own_split(tmp_path, "gdns", train=train, valid="a z\nb q\n", test="a q\nb y\n")
    users, items = split.called()
    named = [
        [f"{users[u]} {items[i]}" for u, i in part]
        for part in (split.train, split.valid, split.test)
    ]
    assert named == [train.splitlines(), ["a z", "b q"], ["a q", "b y"]]
    assert split.negatives.shape == (3, 100)


def test_of_an_own_split_users_and_items_are_read_alone(tmp_path):
    train = "user,item,rating,time\na,x,5,\nb,y,,7\nb,z,1,1\n"
    split = own_split(tmp_path, "ahns", train=train, test="user,item\na,y\n")
    assert len(split.full_train) == 3 and len(split.test) == 1


def test_a_second_test_row_of_a_user_under_leave_one_out_is_named(tmp_path):
    with pytest.raises(UserError, match=r"test.csv: user a has 2 test items"):
        own_split(tmp_path, "gdns", train="a x\nb y\nb z\nb w\n", test="a y\na z\n")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "dataset.path is null; name a file"),
        (["dataset.path=/nowhere.csv"], "there is no file /nowhere.csv"),
        (["dataset.path=a", "dataset.test=b"], "dataset.path is set beside"),
        (["dataset.train=a"], "needs dataset.train and dataset.test"),
        (["dataset.path=a", "dataset.header=5"], "dataset.header is 5, but it takes"),
        (["dataset.path=a", "dataset.format=xml"], "dataset.format is 'xml', but it takes one of"),
        (["dataset.path=a", "+dataset.columns.score=5"], "no key dataset.columns.score"),
        (["dataset.path=a", "dataset.columns.user=1.5"], "dataset.columns.user is 1.5"),
        (["dataset.path=a", "+dataset.sep=5"], "there is no key dataset.sep"),
        (["dataset.path=a", "dataset.delimiter=''"], "dataset.delimiter is empty"),
        (["dataset.path={pairs}", "dataset.sha256={{path:[ab]}}"], "but ab was expected"),
        (
            ["dataset.path={pairs}", "dataset.columns.user=5"],
            "dataset.columns.user is 5, but there",
        ),
        (["dataset.path={pairs}", "dataset.columns.user=1"], "which column holds the items"),
        (["dataset.path=[{pairs},{other}]"], "other.csv, line 1, column 0: an id is missing"),
    ],
)
def test_mistakes_in_an_own_data_set_are_told_in_one_sentence(overrides, message, tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b\nc,d\n")
    (tmp_path / "other.csv").write_text(",b\n")
    place = {"pairs": tmp_path / "pairs.csv", "other": tmp_path / "other.csv"}
    config = make_config("dataset=mine", *(text.format(**place) for text in overrides))
    if message == "which column holds the items":
        config["dataset"]["columns"]["item"] = None
    with pytest.raises(UserError, match=message) as caught:
        load(config["dataset"], config["protocol"], tmp_path / "cache", None)
    assert "\n" not in str(caught.value)
