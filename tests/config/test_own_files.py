"""Files of one's own are identified by their content and by how they are read."""

import os

import pytest

from hapens_bench.config.compose import compose_config, searched
from hapens_bench.config.identity import config_id, identity, run_id, split_id
from hapens_bench.config.own_files import digest
from hapens_bench.errors import UserError
from tests.conftest import once


def ids(path, *more):
    config = compose_config(["dataset=mine", f"dataset.path={path}", *more])
    return run_id(config), config_id(config), split_id(config)


def test_a_run_id_depends_on_content_and_reading_not_on_the_place(tmp_path):
    (tmp_path / "else").mkdir()
    a, b, other = tmp_path / "a.csv", tmp_path / "else" / "b.csv", tmp_path / "c.csv"
    for path, text in ((a, "u,i\n"), (b, "u,i\n"), (other, "u,j\n")):
        path.write_text(text)
    assert ids(a) == ids(b) != ids(other)
    assert ids(a) == ids(f"[{b}]"), "a list of one file is that file"
    for option in ("header=true", "delimiter=tab", "columns.user=1", "name=other"):
        assert not set(ids(a)) & set(ids(a, f"dataset.{option}")), option
    assert ids(f"[{a},{other}]") != ids(f"[{other},{a}]")


def test_a_changed_file_is_another_data_set(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("u,i\n")
    first = ids(path)
    path.write_text("u,j\n")
    os.utime(path, ns=(1, 1))
    assert ids(path) != first


def test_relative_paths_become_absolute_and_missing_files_have_no_checksum(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("u,i\n")
    dataset = compose_config(["dataset=mine", "dataset.train=a.csv", "dataset.test=b.csv"])[
        "dataset"
    ]
    assert (dataset["train"], dataset["test"]) == (f"{tmp_path}/a.csv", f"{tmp_path}/b.csv")
    assert dataset["sha256"] == {"train": [digest(f"{tmp_path}/a.csv")], "test": [None]}
    assert digest(str(tmp_path)) is None


def test_the_identity_of_an_own_set_has_no_path(tmp_path):
    (tmp_path / "a.csv").write_text("u,i\n")
    kept = identity(compose_config(["dataset=mine", f"dataset.path={tmp_path}/a.csv"]))
    assert str(tmp_path) not in str(kept) and kept["dataset"]["sha256"]


def test_the_folder_of_the_user_is_searched_after_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HAPENS_CONFIG", str(tmp_path))
    once.cache_clear()
    (tmp_path / "dataset").mkdir()
    for name in ("books", "tools"):
        text = f"defaults: [mine, _self_]\nname: {name}\npath: /b.csv\n"
        (tmp_path / "dataset" / f"{name}.yaml").write_text(text)
    assert compose_config(["dataset=books"])["dataset"]["path"] == "/b.csv"
    assert "path" not in compose_config(["dataset=tools"])["dataset"]
    once.cache_clear()


def test_a_folder_to_search_must_be_there(tmp_path):
    assert searched(None) == [] and str(tmp_path) in searched(tmp_path)[0]
    with pytest.raises(UserError, match="no such folder"):
        searched(tmp_path / "nowhere")
