import shlex

import pytest

from hapens_bench.cli import main
from hapens_bench.config.compose import compose_config
from hapens_bench.config.identity import run_id
from hapens_bench.runs.folder import RunFolder
from tests.analysis.synthetic import config_of, make_run


@pytest.fixture
def runs(tmp_path):
    """Three finished runs, one failed, one interrupted, and one being trained."""
    for seed in (0, 1):
        make_run(tmp_path, sampler="dns", seed=seed, level=0.06)
    make_run(tmp_path, sampler="dns", changes=("sampler.M=32",), level=0.07)
    for k, state in enumerate(("failed", "running", "running")):
        config = config_of("tools", "ahns", 10 + k)
        folder = RunFolder(tmp_path / "tools" / "mf" / "ahns" / run_id(config))
        from omegaconf import OmegaConf

        folder.write_config(OmegaConf.to_yaml(OmegaConf.create(config)))
        folder.write_status(state, "RuntimeError: boom" if state == "failed" else None)
    with folder.lock():
        yield tmp_path


def call(*arguments) -> int:
    return main.main(["runs", *map(str, arguments)])


def test_list_names_every_finished_run_and_counts_the_others(runs, capsys):
    assert call("list", "--runs", runs) == 0
    out = capsys.readouterr().out
    assert (
        out.count("valid_refit") == 3
        and "3 finished, 2 failed or interrupted, 1 being trained" in out
    )
    assert call("list", "--runs", runs, "--where", "sampler.M=32") == 0
    assert capsys.readouterr().out.count("valid_refit") == 1
    assert call("list", "--runs", runs, "--where", "sampler=rns") == 2
    assert "there is dns" in capsys.readouterr().err


def test_list_of_an_empty_folder_has_no_table(tmp_path, capsys):
    assert call("list", "--runs", tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 finished, 0 failed or interrupted, 0 being trained"
    ]


def test_show_gives_the_config_and_a_command_that_leads_to_the_same_run(runs, capsys):
    wanted = run_id(config_of("tools", "dns", 0, "sampler.M=32"))
    assert call("show", wanted[:7], "--runs", runs) == 0
    out = capsys.readouterr().out
    assert "sampler.M=32\n" in out and "data_hash: " in out and "NDCG@50" in out
    command = out.split("run it again: ")[1].split()
    assert command[:2] == ["hapens", "train"]
    assert run_id(compose_config([word.strip("'") for word in command[2:]])) == wanted


def test_compare_shows_the_keys_that_differ_and_the_difference_over_users(runs, capsys):
    one, two = (run_id(config_of("tools", "dns", 0, *change)) for change in ((), ("sampler.M=32",)))
    assert call("compare", one, two, "--runs", runs) == 0
    out = capsys.readouterr().out
    assert "sampler.M" in out and "trainer.lr" not in out
    assert "-1." in out and "…" in out  # 6 against 7 percent, with an interval
    assert call("compare", one, "zzz", "--runs", runs) == 2
    assert call("compare", one, "", "--runs", runs) == 2
    assert "3 finished runs begin with ''" in capsys.readouterr().err


def test_failed_gives_reasons_and_commands_but_not_the_run_being_trained(runs, capsys):
    assert call("failed", "--runs", runs) == 0
    out = capsys.readouterr().out
    assert "RuntimeError: boom" in out and "running since" in out and "interrupted" in out
    assert out.count("hapens train") == 2 and "seed=12" not in out


def test_prune_removes_only_what_stopped_and_only_when_told_to(runs, capsys):
    assert call("prune", "--runs", runs) == 0
    assert "nothing was removed" in capsys.readouterr().out
    before = {path.parent for path in runs.glob("*/*/*/*/status.json")}
    assert len(before) == 6
    assert call("prune", "--yes", "--runs", runs) == 0
    left = {path.parent for path in runs.glob("*/*/*/*/status.json")}
    assert len(left) == 4 and run_id(config_of("tools", "ahns", 12)) in {path.name for path in left}
    assert capsys.readouterr().out.count("removed ") == 2
    assert call("prune", "--yes", "--runs", runs) == 0
    assert f"there is nothing to remove below {runs}\n" in capsys.readouterr().out


def test_prune_removes_a_link_and_not_what_it_points_to(runs, tmp_path_factory, capsys):
    (failed,) = (p.parent for p in runs.glob("*/*/*/*/status.json") if "boom" in p.read_text())
    elsewhere = tmp_path_factory.mktemp("disk") / failed.name
    failed.rename(elsewhere)
    failed.symlink_to(elsewhere)
    assert call("prune", "--yes", "--runs", runs) == 0
    assert capsys.readouterr().out.count("removed ") == 2
    assert not failed.is_symlink() and (elsewhere / "status.json").is_file()


def test_a_folder_that_cannot_be_removed_is_one_sentence(runs, capsys, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    assert call("prune", "--yes", "--runs", runs) == 2
    assert capsys.readouterr().err.count("cannot be removed: [Errno 13] Permission denied") == 1


def test_the_command_of_a_failed_run_in_an_odd_folder_can_be_pasted(runs, capsys):
    odd = runs.parent / "a=b, c [x] it's (1)"
    runs.rename(odd)
    assert call("failed", "--runs", odd) == 0
    commands = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  hapens train ")]
    for command in commands:
        config = compose_config(shlex.split(command)[2:])
        assert config["paths"]["runs"] == str(odd)
        assert (odd / "tools" / "mf" / "ahns" / run_id(config)).is_dir()
    odd.rename(runs)
    assert len(commands) == 2
