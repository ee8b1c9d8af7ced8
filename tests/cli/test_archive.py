import pytest

from hapens_bench.cli.main import main
from hapens_bench.runs.archive import open_archive, read_plain
from hapens_bench.runs.archiving import encode
from tests.launch.sweeps import sweep
from tests.runs.archived import train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of two samplers, and an archive of them."""
    root = tmp_path_factory.mktemp("made")
    for sampler in ("rns", "dns"):
        for seed in range(3):
            train(root / "runs", f"sampler={sampler}", f"seed={seed}")
    assert main(["archive", "add", str(root / "a"), "--runs", str(root / "runs")]) == 0
    return root


def test_it_lists_shows_and_verifies(made, capsys):
    archive = str(made / "a")
    assert main(["archive", "list", archive]) == 0
    assert "6 runs, 4 files" in capsys.readouterr().out
    assert main(["archive", "show", archive, "--where", "sampler=dns"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(" dns ") == 3 and " rns " not in shown
    assert main(["archive", "verify", archive]) == 0
    assert "6 runs: every metric computed again from ranks; 0 faults" in capsys.readouterr().out


def test_runs_trained_again_are_compared(made, capsys):
    assert main(["archive", "verify", str(made / "a"), "--retrain", "2"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs trained again" in shown
    lines = [line.split() for line in shown.splitlines() if "@" in line]
    assert len(lines) == 14 and all(line[1] == "0.0000" and line[3] == "0" for line in lines)


def test_a_number_that_its_ranks_do_not_give_is_a_fault(made, tmp_path, capsys):
    assert main(["archive", "merge", str(made / "a"), "--into", str(tmp_path / "b")]) == 0
    (path,) = (tmp_path / "b").glob("ranks-*.parquet")
    path.write_bytes(encode("ranks", read_plain(path).iloc[1:]))
    assert main(["archive", "verify", str(tmp_path / "b")]) == 1
    assert "but its ranks give" in capsys.readouterr().out


def test_what_is_not_there_is_one_sentence(made, tmp_path, capsys):
    for words, said in (
        (["list", str(tmp_path / "none")], "there is no archive in"),
        (["add", str(tmp_path / "c"), "--runs", str(tmp_path)], "there is no such finished run"),
        (
            ["add", str(tmp_path / "c"), "--runs", str(made / "runs"), "--table", "x"],
            "no table 'x'",
        ),
        (
            ["merge", str(tmp_path / "none"), "--into", str(tmp_path / "d")],
            "there is no archive in",
        ),
    ):
        assert main(["archive", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_sweep_trains_only_what_no_archive_holds(tmp_path, capsys):
    variants = [["sampler=rns"], ["sampler=dns"]]
    _, jobs = sweep(tmp_path, variants)
    archive = tmp_path / "a"
    runs = str(tmp_path / "runs")
    assert main(["archive", "add", str(archive), "--runs", runs, "--where", "sampler=rns"]) == 0
    capsys.readouterr()
    elsewhere = tmp_path / "other"
    _, again = sweep(elsewhere, [*variants, ["sampler=ssm"]], f"archive={archive}")
    assert "3 jobs: 1 in the archive, 0 done, 2 to run" in capsys.readouterr().out
    assert [job.archived for job in again] == [True, False, False]
    assert again[0].folder.read_summary() == jobs[0].folder.read_summary()
    sweep(elsewhere, [["sampler=rns"]], f"archive={archive}", "resume=force")
    assert "1 jobs: 0 done, 1 to run" in capsys.readouterr().out
    assert len(open_archive(archive).rows) == 1


def test_commands_read_runs_of_archives(made, tmp_path, capsys):
    folders = ["--runs", str(tmp_path), "--archive", str(made / "a")]
    assert main(["runs", "list", *folders]) == 0
    assert "6 finished" in capsys.readouterr().out
    one = next(iter(open_archive(made / "a").rows))
    assert main(["runs", "show", one, *folders]) == 0
    assert "run it again" in capsys.readouterr().out
    out = ["--out", str(tmp_path / "out")]
    assert main(["table", "--rows", "sampler", "--cols", "metric", *folders, *out]) == 0
    assert "dns" in capsys.readouterr().out
    assert main(["report", *folders, "--out", str(tmp_path / "r.html")]) == 0
    assert "6 finished runs" in capsys.readouterr().out
    assert main(["figure", "hardness", *folders, *out]) == 0
    assert main(["runs", "list", "--runs", str(tmp_path), "--no-archive"]) == 0
    assert "0 finished" in capsys.readouterr().out
