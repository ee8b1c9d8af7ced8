"""A user's own files, from the file to a table, to vectors and to recommendations."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from hapens_bench.cli import data, main
from tests.commands import hapens as typed
from tests.conftest import once
from tests.ratings import ratings

SMALL = ["debug=fast", "trainer.batch_size=256", "trainer.best_model=true"]


def files(folder):
    """Write the same log in four formats; return the options that each needs."""
    frame = ratings(["reader", "book", "stars", "when"], "reader ", "b,")
    names = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    named = {"columns.user=reader", "columns.item=book"}
    frame.to_csv(folder / "ratings.csv", index=False)
    frame.to_parquet(folder / "ratings.parquet", index=False)
    frame.set_axis(names, axis=1).to_csv(folder / "ratings.inter", index=False, sep="\t")
    frame[["reader", "book"]].to_csv(folder / "pairs.tsv", index=False, header=False, sep="\t")
    return {"ratings.csv": named, "ratings.parquet": named, "ratings.inter": (), "pairs.tsv": ()}


@pytest.fixture
def hapens(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with the files, and return the exit code and the output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HAPENS_CONFIG", str(tmp_path / "conf"))
    monkeypatch.setattr(data.CONSOLE, "width", 300)
    once.cache_clear()  # configs that were composed with another HAPENS_CONFIG
    files(tmp_path)
    caught = logging.StreamHandler()
    monkeypatch.setattr(caught, "emit", lambda record: print(record.getMessage()))
    logging.getLogger("hapens_bench.data").addHandler(caught)

    def run(*arguments):
        code = main.main([*arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    yield run
    once.cache_clear()
    logging.getLogger("hapens_bench.data").removeHandler(caught)


NAMED = ["--set", "columns.user=reader", "columns.item=book"]


def test_a_set_is_added_with_its_checksum_and_known_to_every_command(hapens, tmp_path):
    code, text = hapens("data", "add", "books", "ratings.csv", *NAMED, "columns.rating=stars")
    assert code == 0, text
    assert "rating is stars" in text and "each pair counts once" in text and "no row was" in text
    assert f"written: {tmp_path}/conf/dataset/books.yaml" in text
    assert "train on it: hapens train dataset=books" in text
    assert "books" in hapens("data", "list")[1]
    assert hapens("data", "verify", "books")[1].count(" ok ") == 1
    code, text = hapens("data", "stats", "books", "protocol.filter.min_rating=4")
    assert code == 0 and "protocol.filter.min_rating=4 drops" in text
    code, text = hapens("data", "ids", "books")
    ids = pd.read_csv(tmp_path / "ratings.csv")
    assert code == 0 and all(f",{name}" in text for name in ids["reader"].unique())
    assert hapens("data", "ids", "books", "--out", "ids.parquet")[0] == 0
    written = pd.read_parquet("ids.parquet").groupby("kind")["id"].apply(set)
    assert written["item"] == set(ids["book"]) and written["user"] == set(ids["reader"])
    code, text = hapens("data", "ids", "books", "--out", "ids.xlsx")
    assert code == 2 and "tables are written to .csv or .parquet" in text


def test_what_cannot_be_added_is_told_in_one_sentence(hapens):
    assert hapens("data", "add", "books", "ratings.inter")[0] == 0
    for arguments, message in (
        (["books", "ratings.inter"], "books.yaml is there already; --force replaces it"),
        (["tools", "ratings.inter"], "tools is the name of a data set that is here already"),
        (["../books", "ratings.inter"], "'../books' is no name"),
        (["more"], "dataset.path is null"),
        (["more", "nowhere.csv"], "there is no file"),
        (["more", "ratings.csv"], "which column holds the users"),
        (["more", "ratings.inter", "--set", "colums.user=0"], "there is no key dataset.colums"),
        (["more", "--train", "ratings.inter"], "needs dataset.train and dataset.test"),
    ):
        code, text = hapens("data", "add", *arguments)
        assert code == 2 and message in text and text.count("\n") == 1, text
    assert hapens("data", "add", "books", "pairs.tsv", "--force")[0] == 0


def test_a_changed_file_is_told_by_verify_and_by_training(hapens, tmp_path):
    assert hapens("data", "add", "books", "ratings.inter")[0] == 0
    with open("ratings.inter", "a") as file:
        file.write("x\ty\t1\t893286638\n")
    code, text = hapens("data", "verify", "books")
    assert code == 1 and "it has sha256" in text
    code, text = hapens("data", "stats", "books")
    assert code == 2 and "it has changed; hapens data add --force takes it as it is now" in text


def test_sets_of_a_folder_are_known_where_it_is_named(hapens, tmp_path):
    code, text = hapens("data", "add", "books", "ratings.inter", "--config-dir", "here")
    assert code == 0 and "hapens train --config-dir here dataset=books" in text
    assert hapens("data", "stats", "books")[0] == 2
    folder = ["--config-dir", "here"]
    for command in (["stats", "books"], ["verify", "books"], ["ids", "books"]):
        assert hapens("data", *command, *folder)[0] == 0
    assert "books" in hapens("data", "list", *folder)[1]
    for command in ("stats", "verify", "ids"):
        search = f"hydra.searchpath=[file://{tmp_path}/here]"
        code, text = hapens("data", command, "books", search)
        assert code == 0, text
        code, text = hapens("data", command, "boks", search)
        assert code == 2 and "boks" in text and text.count("\n") == 1, text
    code, text = hapens("data", "stats", "books", "--config-dir", "nowhere")
    assert code == 2 and "nowhere to take configs from" in text


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.parquet", "ratings.inter", "pairs.tsv"])
def test_from_a_file_to_a_table_in_two_commands(tmp_path, name):
    options = [f"dataset.{option}" for option in files(tmp_path)[name]]
    sweep = ["dataset=mine", f"dataset.path={name}", "sampler=rns,dns"]
    done = typed(tmp_path, "train", "-m", *sweep, *options, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{name}: ") == 1, "it is told once how the file was read"
    table = typed(tmp_path, "table", "--rows", "sampler")
    assert table.returncode == 0 and "dns" in table.stdout and "mine Recall@20" in table.stdout
    (summary,) = tmp_path.glob("runs/mine/mf/dns/*/summary.json")
    run = json.loads(summary.read_text())["run_id"]
    exported = typed(tmp_path, "export", run, "--out", "v.npz")
    assert exported.returncode == 0, exported.stderr
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        vectors = dict(arrays)
    frame = ratings(["reader", "book", "stars", "when"], "reader ", "b,")
    assert set(vectors["user_ids"]) == set(frame["reader"])
    assert set(vectors["item_ids"]) == set(frame["book"])
    assert typed(tmp_path, "export", run, "--out", "v.parquet").returncode == 0
    rows = pd.read_parquet(tmp_path / "v.parquet").query("kind == 'item'")
    assert np.array_equal(np.stack(rows["vector"].to_list()), vectors["items"])
    user = frame["reader"].iloc[0]
    best = typed(tmp_path, "recommend", run, "--user", user, "-k", "7", "--out", "best.csv")
    assert best.returncode == 0, best.stderr
    best = pd.read_csv(tmp_path / "best.csv")
    had = frame[frame["reader"] == user]["book"]
    assert len(best) == 7 and set(best["user"]) == {user} and not set(best["item"]) & set(had)
    scores = vectors["items"] @ vectors["users"][vectors["user_ids"].tolist().index(user)]
    scores[np.isin(vectors["item_ids"], had)] = -np.inf
    assert best["item"].tolist() == vectors["item_ids"][np.argsort(-scores)[:7]].tolist()


def test_refusals_of_export_and_recommend_are_one_sentence(tmp_path):
    files(tmp_path)
    small = [*SMALL[:2], "dataset=mine", "dataset.path=pairs.tsv", "protocol.selection=[valid]"]
    assert typed(tmp_path, "train", *small).returncode == 0
    (folder,) = tmp_path.glob("runs/mine/mf/rns/*")
    refused = typed(tmp_path, "export", folder.name)
    assert refused.returncode == 2 and "trainer.best_model=true" in refused.stderr
    command = refused.stderr.partition("best_model=true: ")[2]
    assert "dataset.path=" in command and "seed=0 trainer.best_model=true" in command
    assert typed(tmp_path, "train", *small, "trainer.best_model=true").returncode == 0
    (other,) = (p for p in tmp_path.glob("runs/mine/mf/rns/*") if p.name != folder.name)
    for arguments, message in (
        (["recommend", other.name, "--user", "nobody"], "there is no user 'nobody' among the 200"),
        (["recommend", other.name, "--user", "reader 1", "-k", "0"], "-k is 0"),
        (["recommend", other.name], "takes --user, or --out"),
        (["export", other.name, "--out", "v.txt"], "vectors are written to .npz or .parquet"),
        (["export", "zzz"], "there is no finished run"),
    ):
        refused = typed(tmp_path, *arguments)
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr
        assert refused.stderr.count("\n") == 1
    (tmp_path / "pairs.tsv").write_text("reader 1\tb,1\nreader 2\tb,2\n")
    refused = typed(tmp_path, "recommend", other.name, "--user", "reader 1", HAPENS_CACHE="none")
    assert refused.returncode == 2 and "it has changed" in refused.stderr
