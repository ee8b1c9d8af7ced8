import contextlib
import json
import random
import shutil
import subprocess
import sys
import time

import pandas as pd
import pandas.testing as pt
import pytest

from hapens_bench.analysis.replicates import Replicates, compare
from hapens_bench.runs.archive import ArchivedRun, open_archive, open_run, read_plain
from hapens_bench.runs.archiving import add, encode, merge, to_folder
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.ledger import load, users
from tests.runs.archived import files, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four finished runs of two samplers, and one whose protocol ranks candidates."""
    root = tmp_path_factory.mktemp("archived") / "runs"
    for sampler in ("rns", "dns"):
        for seed in range(2):
            train(root, f"sampler={sampler}", f"seed={seed}")
    train(root, "protocol=gdns", "trainer.reduction=mean")
    return root


def folders(runs):
    return [RunFolder(path.parent) for path in sorted(runs.glob("*/*/*/*/summary.json"))]


@pytest.fixture(scope="module")
def archive(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "mine"
    added = add(folders(runs), path)
    assert len(added.new) == 5 and not added.refused
    return open_archive(path)


def rewrite(path, kind, change):
    """Change a file of an archive."""
    (file,) = path.glob(f"{kind}-*.parquet")
    file.write_bytes(encode(kind, change(read_plain(file))))


def test_a_run_comes_back_bit_for_bit(runs, archive):
    order = ["selection", "ranking", "user", "rank"]
    for folder in folders(runs):
        again = ArchivedRun(archive, archive.rows[folder.path.name])
        assert again.is_done() and again.read_summary() == folder.read_summary()
        pt.assert_frame_equal(
            again.read_frame("users"),
            folder.read_frame("users"),
            check_exact=True,
            check_dtype=False,
        )
        ranks = folder.read_frame("ranks").sort_values(order).reset_index(drop=True)
        pt.assert_frame_equal(again.read_frame("ranks"), ranks, check_dtype=False)
        history, mine = again.read_frame("history"), folder.read_frame("history")
        for column in history:
            kept = mine.loc[history[column].notna(), column].tolist()
            assert history[column].dropna().tolist() == kept, column
        assert set(mine) - set(history) <= {c for c in mine if mine[c].isna().all()}
        assert not set(again.read_config()) & {"paths", "logger", "resume", "archive"}
        with pytest.raises(DamagedRun, match="not archived"):
            again.read_frame("indicators")
    full = [row for row in archive.rows.values() if row.summary["protocol"] == "gdns"]
    assert any(name.startswith("full/") for name in archive.users(full[0]).columns)


def test_tests_over_users_are_those_of_run_folders_to_the_last_digit(runs, archive):
    results = []
    for ledger in (load(runs), load(runs / "nowhere", archive.path)):
        own = {name: [] for name in ("rns", "dns")}
        for run in sorted(ledger.runs, key=lambda run: run["seed"]):
            if run["protocol"] == "ahns":
                own[run["sampler"]].append(run)
        pair = [Replicates(own[name]) for name in ("dns", "rns")]
        results.append(repr(compare(*pair, "valid_refit", "NDCG@20")))
        assert len(users(own["rns"])) == 2 * 3 * 60
    assert results[0] == results[1]


def test_adding_again_changes_nothing_and_small_parts_are_taken_in(runs, tmp_path):
    first, *rest = folders(runs)
    add([first], tmp_path)
    before = files(tmp_path)
    assert add([first], tmp_path).known == [first.path.name] and files(tmp_path) == before
    for folder in rest:
        add([folder], tmp_path)
    assert len(list(tmp_path.glob("runs-*"))) == 1 and len(open_archive(tmp_path).rows) == 5


def test_an_unfinished_damaged_or_old_run_is_named_and_left_out(runs, tmp_path):
    (tmp_path / "copy").mkdir()
    for n, folder in enumerate(folders(runs)[:3]):
        copy = tmp_path / "copy" / folder.path.name
        copy.mkdir()
        for path in folder.path.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        if n == 0:
            RunFolder(copy).write_status("running")
        elif n == 1:
            (copy / "users.parquet").write_bytes(b"PAR1")
        else:
            old = RunFolder(copy)
            old.write_users(old.read_frame("users").drop(columns="relevant"))
            old.write_status("done")
    broken = [RunFolder(path) for path in sorted((tmp_path / "copy").iterdir())]
    added = add(broken, tmp_path / "a")
    assert len(added.refused) == 3 and not added.new
    assert sum("train it again" in line for line in added.refused) == 1


def test_two_archives_merge_into_the_same_files_in_both_orders(runs, tmp_path):
    own = folders(runs)
    add(own[:3], tmp_path / "a")
    add(own[2:], tmp_path / "b")
    one = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "ab")
    two = merge([tmp_path / "b", tmp_path / "a"], tmp_path / "ba")
    assert files(one.path) == files(two.path) and set(one.rows) == {f.path.name for f in own}
    add(own, tmp_path / "whole")
    merged = merge([tmp_path / "a", tmp_path / "whole"], tmp_path / "aw")
    assert files(merged.path) == files(tmp_path / "whole")


def test_rows_that_differ_are_named_and_the_first_counts(runs, archive, tmp_path):
    merge([archive.path], tmp_path / "b")

    def better(frame):
        summary = json.loads(frame.loc[0, "summary"])
        summary["selection"]["valid"]["test"]["Recall@20"] = 0.9
        return frame.assign(summary=[json.dumps(summary), *frame["summary"][1:]])

    rewrite(tmp_path / "b", "runs", better)
    for kind in ("runs", "epochs", "ranks"):  # a part of another name, as another machine's has
        (old,) = (tmp_path / "b").glob(f"{kind}-*.parquet")
        old.rename(old.with_name(f"{kind}-ffffffffffff.parquet"))
    both = merge([archive.path, tmp_path / "b"], tmp_path / "both")
    assert len(both.conflicts) == 1 and "has other results" in both.conflicts[0]
    assert len(both.rows) == 5 and len(list(both.path.glob("runs-*"))) == 2
    ledger = load(runs, tmp_path / "both")
    assert len(ledger.runs) == 5 and both.conflicts[0] in ledger.skipped


def test_a_run_in_a_folder_and_in_an_archive_counts_once_and_a_difference_is_named(runs, archive):
    assert load(runs, archive.path).skipped == []
    ledger = load(runs, archive.path)
    assert len(ledger.runs) == 5 and all(str(runs) in run["folder"] for run in ledger.runs)
    for run in load(runs / "none", archive.path).runs:
        assert isinstance(open_run(run["folder"]), ArchivedRun)


def foreign(frame, name):
    """Return a runs file with one row that is no run of ours."""
    at = frame.columns.get_loc(name)
    values = {
        "run_id": "0123456789ab",
        "config": "seed: 1\n",
        "summary": json.dumps({"run_id": frame.iloc[0, 0], "sampler": "best"}),
        "crc32": "no object",
    }
    frame.iloc[0, at] = values[name]
    return frame


def test_a_metric_that_names_a_strangers_function_is_not_called(archive, tmp_path):
    merge([archive.path], tmp_path)

    def named(frame):
        summary = json.loads(frame.loc[0, "summary"])
        for report in summary["selection"].values():
            report["test"]["os.system@20"] = 0.5
        return frame.assign(summary=[json.dumps(summary), *frame["summary"][1:]])

    rewrite(tmp_path, "runs", named)
    read = open_archive(tmp_path)
    for row in read.rows.values():
        assert not any("os.system" in column for column in read.users(row))


@pytest.mark.parametrize("name", ["run_id", "config", "summary", "crc32"])
def test_a_strangers_row_that_is_no_run_is_named_and_skipped(archive, tmp_path, name):
    merge([archive.path], tmp_path)
    rewrite(tmp_path, "runs", lambda frame: foreign(frame, name))
    read = open_archive(tmp_path)
    assert len(read.rows) == 4 and len(read.skipped) == 1 and ", row 0: " in read.skipped[0]


def test_a_file_with_anything_but_texts_and_numbers_is_not_read(archive, tmp_path):
    merge([archive.path], tmp_path)
    (path,) = tmp_path.glob("runs-*.parquet")
    read_plain(path).assign(run_id=[[1]] * 5).to_parquet(path)
    read = open_archive(tmp_path)
    assert not read.rows and "not texts or numbers" in read.skipped[0]


def test_damaged_bytes_never_raise_anything_else(archive, tmp_path):
    whole, chance = files(archive.path), random.Random(0)
    for n in range(60):
        path = tmp_path / str(n)
        path.mkdir()
        for name, content in whole.items():
            changed = bytearray(content)
            if not name.startswith("users") or n % 5 == 0:
                for _ in range(chance.randrange(1, 9)):
                    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            (path / name).write_bytes(changed)
        read = open_archive(path)
        assert len(read.rows) == 5 or read.skipped
        for row in read.rows.values():
            for name in ("users", "history"):
                try:
                    ArchivedRun(read, row).read_frame(name)
                except DamagedRun:
                    continue


@pytest.mark.parametrize("n", range(9))
def test_an_addition_that_is_cut_short_loses_nothing_and_adds_nothing_twice(
    runs, tmp_path, monkeypatch, n
):
    own = folders(runs)
    add(own[:2], tmp_path)
    written, write = [], type(own[0])._write

    def cut(self, name, content):
        if len(written) == n:
            raise KeyboardInterrupt
        written.append(name)
        write(self, name, content)

    with monkeypatch.context() as patched:
        patched.setattr("hapens_bench.runs.archiving.Parts._write", cut)
        with contextlib.suppress(KeyboardInterrupt):
            add(own, tmp_path)
    assert set(open_archive(tmp_path).rows) >= {folder.path.name for folder in own[:2]}
    add(own, tmp_path)
    read = open_archive(tmp_path)
    assert set(read.rows) == {folder.path.name for folder in own} and not read.conflicts
    assert sum(len(pd.read_parquet(path)) for path in tmp_path.glob("runs-*.parquet")) == 5


def test_run_folders_come_out_again(runs, archive, tmp_path):
    for row in archive.rows.values():
        folder = to_folder(ArchivedRun(archive, row), tmp_path / "runs")
        assert (
            folder.is_done() and to_folder(ArchivedRun(archive, row), tmp_path / "runs").is_done()
        )
    assert len(load(tmp_path / "runs").runs) == 5
    added = add(folders(tmp_path / "runs"), tmp_path / "again")
    assert len(added.new) == 5 and files(tmp_path / "again").keys()
    again = open_archive(tmp_path / "again")
    for name, row in archive.rows.items():
        pt.assert_frame_equal(archive.users(row), again.users(again.rows[name]))


@pytest.mark.faults
def test_killed_at_20_moments_an_addition_loses_nothing_and_adds_nothing_twice(runs, tmp_path):
    chance, path = random.Random(1), tmp_path / "a"
    command = [sys.executable, "-m", "hapens_bench.cli", "archive", "add", str(path)]
    ids = sorted(folder.path.name for folder in folders(runs))
    begun = time.monotonic()
    subprocess.run([*command, "--runs", str(runs), "--where", "seed=0"], check=True)
    takes, before = time.monotonic() - begun, set(open_archive(path).rows)
    for _ in range(20):
        process = subprocess.Popen([*command, "--runs", str(runs)])
        time.sleep(chance.uniform(0.7, 1) * takes)
        process.kill()
        process.wait()
        now = open_archive(path)
        assert before <= set(now.rows) <= set(ids) and not now.skipped and not now.conflicts
        for row in now.rows.values():
            now.users(row)
        before = set(now.rows)
        if len(before) == len(ids):  # from the beginning again
            shutil.rmtree(path)
            subprocess.run([*command, "--runs", str(runs), "--where", "seed=0"], check=True)
            before = set(open_archive(path).rows)
    subprocess.run([*command, "--runs", str(runs)], check=True)
    rows = [len(pd.read_parquet(part)) for part in path.glob("runs-*.parquet")]
    assert sorted(open_archive(path).rows) == ids and sum(rows) == len(ids)
