"""Searches of samplers from a folder outside the checkout, and how such folders are named."""

import sys

import pandas as pd
import pytest

from hapens_bench.cli.main import main
from hapens_bench.config.outside import of_command, outside
from hapens_bench.errors import UserError
from hapens_bench.tune.plan import make_plan
from tests.tune.searches import SMALL, typed

SAMPLER = "_target_: {module}.Mine\nname: mine\nM: 8\n"
CLASS = """
from hapens_bench.samplers.dns import DNS

class Mine(DNS):
    pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a sampler, its space, and a module of a name of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "before")
    folder = tmp_path / "my folder"
    for group in ("sampler", "space"):
        (folder / group).mkdir(parents=True)
    module = f"mine_{abs(hash(tmp_path))}"
    (folder / f"{module}.py").write_text(CLASS)
    (folder / "sampler" / "mine.yaml").write_text(SAMPLER.format(module=module))
    (folder / "space" / "mine.yaml").write_text("sampler.M: [4, 8]\n")
    return folder


def test_a_search_takes_its_sampler_and_space(mine, tmp_path):
    words = typed(tmp_path, *SMALL, "sampler=rns,mine", "tune.pruner=none", "tune.n_trials=2")
    out = tmp_path / "tuning"
    command = ["tune", "ahns", "--config-dir", str(mine), *words, f"tune.out={out}"]
    assert main(command) == 0
    trials = pd.read_csv(out / "ahns_tpe" / "planted.csv").set_index("sampler")
    assert len(trials.loc["mine"]) == len(trials.loc["rns"]) == 2
    assert trials.loc["mine", "setting"].str.contains(r"sampler.M=[48]$").all()


def test_options_and_words_may_be_mixed(mine, tmp_path, capsys):
    command = ["tune", "ahns", "dataset=planted", "--config-dir", str(mine), "sampler=mine"]
    assert main([*command, "sampler.M=0", f"paths.runs={tmp_path}"]) == 2
    assert "sampler.M is 0" in capsys.readouterr().err
    assert main([*command, "nonsense"]) == 2
    assert "unrecognized arguments: " in (error := capsys.readouterr().err) and "nonsense" in error


def test_without_a_space_it_is_told(mine):
    (mine / "space" / "mine.yaml").unlink()
    with pytest.raises(UserError, match="has no space for mine"):
        make_plan("ahns", ["dataset=planted", "sampler=mine"], outside([], mine)[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.lr: 1,2\n", "lists values of trainer.lr, but only sampler.KEY and loss.KEY"),
        ("- sampler.M\n", "is no space; it takes lines like"),
        ("sampler.M: 8\n", "the space of sampler.M is '8', but it takes a list like"),
        ("sampler.M: interval(\n", "the space of sampler.M cannot be read"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_sentence(mine, text, said):
    (mine / "space" / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        make_plan("ahns", ["dataset=planted", "sampler=mine"], outside([], mine)[0])


def test_folders_are_named_in_both_ways_and_found_by_python(mine, monkeypatch):
    import os

    monkeypatch.chdir(mine.parent)
    found, rest = outside([f"hydra.searchpath=['file://{mine}',pkg://some.conf]", "a=b"], None)
    assert rest == ["a=b"] and found.folders == [mine] and found.entries[1] == "pkg://some.conf"
    assert sys.path[0] == str(mine) and os.environ["PYTHONPATH"] == f"{mine}:before"
    same, _ = outside(["hydra.searchpath=['my folder']"], mine)
    assert same.folders == [mine] and sys.path.count(str(mine)) == 1
    for argv in (["--config-dir", "my folder"], ["--config-dir=my folder"], ["-cd", "my folder"]):
        assert of_command(["-m", *argv, "sampler=mine", "seed=0,1"]).folders == [mine]
    assert of_command(["sampler=rns"]).overrides == []


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert main(["train", "--config-dir", str(tmp_path / "no"), "sampler=mine"]) == 2
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err
