import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hapens_bench.cli.main import main
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import jobs_of, planned
from hapens_bench.launch.queue import Line, Queue, read_queue, stand_back
from hapens_bench.runs.archive import open_archive
from hapens_bench.runs.ledger import load

TINY = "dataset.users=60 dataset.items=300 trainer.batch_size=128 trainer.epochs=4"
FILE = f"""# a queue
20 1 table --rows sampler --out OUT
10 1 train -m sampler=dns 'seed=range(2)' {TINY}   # second
10 1 train -m sampler=ssm,rns seed=0 {TINY}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "q.txt").write_text(FILE.replace("OUT", str(tmp_path / "out")))
    return tmp_path


def command(place: Path, *words: str) -> list[str]:
    folders = ["--runs", str(place / "runs"), "--into", str(place / "archive")]
    return ["queue", str(place / "q.txt"), *folders, *words]


def counted(place: Path) -> list[str]:
    """Return the run ids of all rows of the archive's parts."""
    archive = open_archive(place / "archive")
    return [row.run_id for path in archive.path.glob("runs-*") for row in archive.rows_of(path)]


def test_lines_are_worked_on_by_priority_then_as_they_stand(place):
    lines = read_queue(place / "q.txt", ["train", "table"])
    assert [line.number for line in lines] == [3, 4, 2]
    assert lines[0].words[:4] == ("train", "-m", "sampler=dns", "seed=range(2)")
    assert lines[0].command.startswith("hapens train -m sampler=dns 'seed=range(2)'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10 train -m", "line 1: a line has a priority"),
        ("# only\nhigh 1 train", "line 2: a line has a priority"),
        ("1 1 'train", "line 1: a line has a priority"),
        ("1 1 rm -rf /", "line 1: there is no command 'rm'"),
        ("# nothing", "has no line with a command"),
    ],
)
def test_a_line_that_is_no_command_is_named(tmp_path, text, said):
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        read_queue(tmp_path / "q.txt", ["train", "table"])
    with pytest.raises(UserError, match="cannot be read"):
        read_queue(tmp_path / "none.txt", [])


def test_a_line_has_the_trials_of_the_sweep(tmp_path):
    places = [f"paths.runs={tmp_path}"]
    for name, words in (("ahns_table2", []), ("tune_ahns", [])):
        asked = ["-m", f"experiment={name}", "dataset=tools", "sampler=rns,dns", *words]
        mine = [job.folder.path for job in jobs_of(asked, places)]
        theirs = planned(name, tmp_path, ["tools"], samplers=["rns", "dns"])
        assert mine == [trial.job.folder.path for trial in theirs]
    more = ["experiment=tune_ahns", "dataset=tools", "sampler=rns", "hydra.sweeper.n_trials=3"]
    assert len(jobs_of(more)) == 3
    with pytest.raises(UserError, match="cannot be parsed"):
        jobs_of(["sampler=[rns"])


def test_everything_is_trained_archived_and_done_before_when_typed_again(place, capfd):
    assert main(command(place, "--plan")) == 0
    assert "2 of 2" in capfd.readouterr().out and not (place / "archive").exists()
    assert main(command(place)) == 0
    said = capfd.readouterr().out
    assert said.count(" done: hapens") == 3 and "left: 3 lines, 4 trials" in said
    assert said.index("done: hapens train -m sampler=ssm") < said.index("at: hapens table")
    assert len(counted(place)) == 4 == len(load(place / "runs").runs)
    assert list((place / "out").glob("sampler_by_*.csv"))
    assert main(command(place)) == 0
    assert capfd.readouterr().out.count("done before") == 2
    assert main(command(place, "--plan")) == 0
    assert "0 of 2" in capfd.readouterr().out


def test_a_command_that_fails_is_named_and_the_others_go_on(place, capfd):
    path = place / "q.txt"
    path.write_text(f"1 1 table nothing\n2 1 train -m sampler=rns seed=0 {TINY}\n")
    assert main(command(place)) == 1
    said = capfd.readouterr()
    assert "failed (exit code 2, see" in said.out and "1 of 2 lines" in said.err
    assert len(counted(place)) == 1


def test_a_sweep_that_cannot_be_composed_is_named_before_anything_trains(place, capfd):
    (place / "q.txt").write_text("1 1 train -m sampler=rns\n1 1 train -m sampler=none_such\n")
    assert main(command(place)) == 2
    assert "none_such" in capfd.readouterr().err and not list(place.glob("runs/*/*"))


def test_one_queue_a_folder_of_runs(place, capfd):
    from hapens_bench.runs.lock import hold

    (place / "runs/.queue").mkdir(parents=True)
    with hold(place / "runs/.queue"):
        assert main(command(place)) == 2
    assert "another queue works on the run folders" in capfd.readouterr().err


def test_a_process_that_stands_back_is_nice_and_so_is_its_session():
    script = "import os; print(os.nice(0)); print(open('/proc/self/autogroup').read())"
    shown = subprocess.run(
        [sys.executable, "-c", script],
        preexec_fn=stand_back,
        start_new_session=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert shown[0] == "19"
    if len(shown) > 1:  # kernels without autogroups have no such file
        assert shown[-1] == "19"


def start(place: Path) -> subprocess.Popen:
    words = [sys.executable, "-m", "hapens_bench.cli", *command(place)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_asked_to_end_it_ends_its_sweeps_and_exits_with_75(place):
    process = start(place)
    assert process.stdout is not None and "at: hapens train" in process.stdout.readline()
    time.sleep(1)
    process.terminate()
    assert "terminated" in process.communicate(timeout=60)[0] and process.returncode == 75
    assert not alive(place)
    assert main(command(place)) == 0 and len(counted(place)) == 4


def alive(place: Path) -> list[str]:
    """Return the processes that work below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(place / "runs") in words and int(path.parent.name) != os.getpid():
            found.append(words)
    return found


@pytest.mark.faults
def test_killed_at_random_moments_it_loses_nothing_and_does_nothing_twice(place):
    chance = random.Random(0)
    for _ in range(20):
        process = start(place)
        time.sleep(chance.uniform(0.5, 9))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        before = set(counted(place)) if (place / "archive").exists() else set()
        for _ in range(100):
            if not alive(place):
                break
            time.sleep(0.2)  # its sweeps write their checkpoints
        assert not alive(place)
        assert before <= set(counted(place)) if before else True
    assert main(command(place)) == 0
    ids = counted(place)
    assert len(ids) == len(set(ids)) == 4 == len(load(place / "runs").runs)
    assert not open_archive(place / "archive").conflicts


def test_a_line_is_known_by_its_words():
    assert Line(1, 1, 1, ("train",)).trains and not Line(1, 1, 1, ("table", "x")).trains


def test_lines_after_a_choice_have_the_settings_that_it_wrote(tmp_path, monkeypatch):
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    for module in ("config.compose", "config.paths"):
        monkeypatch.setattr(f"hapens_bench.{module}.conf_dir", lambda: conf)
    written = conf / "tuned" / "equal" / "planted-mf-rns.yaml"
    words = f"sampler=rns tuned=equal seed=0 {TINY}"
    (tmp_path / "q.txt").write_text(f"1 1 choose tune_ahns equal\n2 1 train -m {words}\n")
    lines = read_queue(tmp_path / "q.txt", ["train", "choose"])
    queue = Queue(lines, tmp_path / "runs", tmp_path / "archive", 1, lambda text: None)
    (before,) = queue.trials[lines[1]]
    rates = []

    def start(line):
        if line.words[0] == "choose":
            written.write_text("trainer: {lr: 0.0123}\n")
        else:
            rates.append(queue.trials[line][0].config["trainer"]["lr"])
        return subprocess.Popen(["true"])

    monkeypatch.setattr(queue, "start", start)
    queue.work()
    assert rates == [0.0123] != [before.config["trainer"]["lr"]]
    assert queue.trials[lines[1]][0].folder.path != before.folder.path
