"""Which runs a filter keeps, and which of them are one line."""

import pytest

from hapens_bench.analysis import query
from hapens_bench.analysis.figures.lines import lines
from hapens_bench.errors import UserError
from tests.analysis.runs import write_run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for M in (16, 4):
        for seed in (0, 1):
            write_run(root, "dataset=tools", "sampler=dns", f"sampler.M={M}", f"seed={seed}")
    write_run(root, "dataset=tools", "sampler=ahns", "protocol=clean")
    write_run(root, "dataset=phones", "sampler=rns")
    return root


def kept(root, *words) -> list[str]:
    found, notes = query.from_ledger(root, query.parse_where(words))
    assert not notes
    names = (
        (one.config["dataset"]["name"], one.config["sampler"], one.config["seed"]) for one in found
    )
    return [
        f"{dataset} {sampler['name']} {sampler.get('M')} {seed}" for dataset, sampler, seed in names
    ]


def one_line(runs, most=10, varied=lambda run: ()):
    return [
        (line.place[0], line.sampler, line.setting, len(line.runs))
        for line in lines(runs, most, varied)
    ]


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ([], 6),
        (["dataset=tools"], 5),
        (["dataset=tools,phones"], 6),
        (["dataset=tools", "dataset=phones"], 6),
        (["sampler=dns", "seed=1"], 2),
        (["model=mf", "protocol=clean"], 1),
        (["selection=test_peak"], 5),
        (["protocol.selection=valid"], 6),
        (["sampler.M=4.0"], 2),
        (["sampler.M=4,32"], 3),
        (["trainer.drop_last=True", "trainer.lr=1e-3", "trainer.threads=null"], 6),
    ],
)
def test_a_filter_keeps_what_has_one_of_its_values(root, words, there):
    assert len(kept(root, *words)) == there


def test_filters_are_combined(root):
    assert kept(root, "sampler.M=16", "seed=1") == ["tools dns 16 1"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sampler", "--where takes key=value"),
        ("sampler=", "--where takes key=value"),
        ("=dns", "--where takes key=value"),
        ("sampler=cuco", "--where sampler=cuco: no run has it; there is ahns, dns, rns"),
        ("sampler.M=5", "--where sampler.M=5: no run has it; there is 4, 16, 32"),
        ("selection=best", "there is test_peak, valid, valid_refit"),
        (
            "sampler.X=1",
            "--where sampler.X: the runs have no such key; they have dataset, .*sampler.M",
        ),
        ("sampler.M.deep=1", "the runs have no such key"),
        ("trainer=1", "the runs have no such key"),
    ],
)
def test_what_no_run_has_is_told(root, word, message):
    with pytest.raises(UserError, match=message) as caught:
        kept(root, word)
    assert "\n" not in str(caught.value)


def test_a_folder_without_runs_says_why(tmp_path):
    with pytest.raises(UserError, match=r"there is no finished run below .*nowhere$"):
        query.from_ledger(tmp_path / "nowhere", {})
    folder = write_run(tmp_path)
    folder.write_summary({"run_id": "old"})
    folder.write_status("done")
    with pytest.raises(
        UserError,
        match=r"there is no finished run below .*; skipped .*summary.json lacks config_id",
    ):
        query.from_ledger(tmp_path, {})


def test_a_run_that_cannot_be_read_is_named(tmp_path):
    folder = write_run(tmp_path)
    (folder.path / "history.parquet").unlink()
    (one,), _ = query.from_ledger(tmp_path, {})
    with pytest.raises(UserError, match=f"{folder.path}: history.parquet cannot be read"):
        _ = one.history
    (folder.path / "config.yaml").write_text("[")
    with pytest.raises(UserError, match=f"{folder.path}: config.yaml is damaged"):
        query.from_ledger(tmp_path, {"seed": ["0"]})


def test_seeds_are_one_line_and_settings_are_not(root):
    runs, _ = query.from_ledger(root, {"sampler": ["dns", "rns"]})
    assert one_line(runs) == [
        ("phones", "rns", "", 1),
        ("tools", "dns", "M=4", 2),
        ("tools", "dns", "M=16", 2),
    ]
    assert one_line(runs, varied=lambda run: ["sampler.M"])[1] == ("tools", "dns", "", 4)


def test_settings_are_named_by_what_differs_with_digits_as_needed(tmp_path):
    write_run(tmp_path, "sampler=dns", "trainer.lr=0.0010001")
    write_run(tmp_path, "sampler=dns", "trainer.lr=0.0010002")
    write_run(
        tmp_path,
        "sampler=dns",
        "loss=bpr_sum",
        "trainer.lr=0.0010002",
        "protocol.selection=[valid]",
    )
    runs, _ = query.from_ledger(tmp_path, {})
    assert {line[2] for line in one_line(runs)} == {
        "loss=bpr, lr=0.0010001",
        "loss=bpr, lr=0.0010002",
        "loss=bpr_sum, lr=0.0010002",
    }


def test_a_protocol_has_panels_of_its_own(tmp_path):
    for protocol in ("ahns", "clean"):
        write_run(tmp_path, "sampler=dns", f"protocol={protocol}")
    runs, _ = query.from_ledger(tmp_path, {})
    assert [line.place for line in lines(runs, 10, lambda run: ())] == [
        ("planted", "mf", "ahns"),
        ("planted", "mf", "clean"),
    ]


def test_too_many_lines_are_refused_with_the_keys_to_choose_by(root):
    runs, _ = query.from_ledger(root, {"protocol": ["ahns"]})
    assert len(one_line(runs, most=2)) == 3
    write_run(root, "dataset=tools", "sampler=rns")
    runs, _ = query.from_ledger(root, {"protocol": ["ahns"]})
    with pytest.raises(
        UserError,
        match=r"3 settings would be drawn on tools, and at most 2 .* by sampler, sampler\.M$",
    ):
        one_line(runs, most=2)


def test_runs_on_different_data_are_refused(tmp_path):
    write_run(tmp_path, "seed=0")
    write_run(tmp_path, "seed=1", data_hash="other")
    runs, _ = query.from_ledger(tmp_path, {})
    with pytest.raises(
        UserError, match=r"the runs on planted were made on different data \(h, other\)"
    ):
        one_line(runs)
