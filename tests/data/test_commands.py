import pytest

from hapens_bench.cli import data, main


@pytest.fixture
def hapens(tmp_path, monkeypatch, capsys):
    """Run `hapens data ...` on an empty cache; return the exit code and the output."""
    monkeypatch.setenv("HAPENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data.CONSOLE, "width", 300)

    def run(*arguments):
        code = main.main(["data", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_list_names_every_data_set(hapens):
    code, text = hapens("list")
    assert code == 0 and all(name in text for name in data.names())


def test_an_unknown_data_set_is_told_in_one_sentence(hapens):
    code, text = hapens("fetch", "movies")
    assert (
        code == 2
        and "there is no data set 'movies'; choose one of" in text
        and text.count("\n") == 1
    )


def test_an_unknown_source_is_told_in_one_sentence(hapens):
    code, text = hapens("fetch", "ml-1m", "--source", "row")
    assert code == 2 and "ml-1m has author, raw, gathered, order" in text


def test_a_file_behind_a_login_is_told_with_the_way_to_get_it(hapens, monkeypatch):
    monkeypatch.delenv("HAPENS_MIRROR", raising=False)
    code, text = hapens("fetch", "taobao", "--source", "raw")
    assert code == 2 and "tianchi.aliyun.com/dataset/649" in text and "HAPENS_MIRROR" in text


def test_verify_tells_missing_right_and_wrong_files(hapens, tmp_path, monkeypatch):
    monkeypatch.setenv("HAPENS_MIRROR", str(tmp_path))
    assert hapens("verify", "tools")[0] == 0
    (tmp_path / "ahns_tool").mkdir()
    (tmp_path / "ahns_tool" / "train.txt").write_text("0 1\n")
    code, text = hapens("verify", "tools")
    assert code == 1 and "was expected" in text and "missing" in text


def test_the_mirror_verifies(hapens, mirror):
    code, text = hapens("verify", "gowalla")
    assert code == 0 and "missing" not in text


def test_stats_stand_beside_the_papers(hapens, mirror):
    code, text = hapens("stats", "tools")
    assert code == 0 and "equal to AHNS Table 1" in text and "16,638" in text
    code, text = hapens("stats", "taobao")
    assert (
        code == 0
        and "differs from SDNS Table 1" in text
        and "users: +8,906" in text
        and "subset:" not in text
    )


def test_stats_of_leave_one_out_stand_beside_srns(hapens, mirror):
    code, text = hapens("stats", "ml-1m", "protocol=gdns")
    assert (
        code == 0 and "equal to GDNS Table 2" in text and "575,242" in text and "AHNS" not in text
    )
    code, text = hapens("stats", "ml-1m", "protocol=gdns_relabelled")
    assert (
        code == 0 and "equal to GDNS Table 2" in text and "557,158" in text and "relabelled" in text
    )
    assert "equal to AHNS" in hapens("stats", "ml-1m")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("taobao", "different subset: all 13,256 users, because there are fewer than 22,976"),
        ("tmall", "different subset: 10,000 users, drawn with seed 0"),
    ],
)
def test_stats_of_gathered_logs_under_sdns_say_whose_users_they_are(hapens, mirror, name, said):
    code, text = hapens("stats", name, "protocol=sdns", "dataset.source=gathered")
    assert code == 0 and said in text and "under protocol sdns" in text
    assert "split: chronological" in text and "differs from SDNS Table 1" in text


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("taobao", ["22,976", "29,149", "439,305", "352,749", "47,846", "38,710"]),
        ("tmall", ["10,000", "14,965", "461,899", "369,730", "45,671", "46,498"]),
        ("gowalla", ["29,858", "40,981", "1,027,370"]),
    ],
)
def test_stats_under_the_sdns_protocol_are_those_of_table_1(hapens, mirror, name, counts):
    code, text = hapens("stats", name, "protocol=sdns")
    assert code == 0 and "equal to SDNS Table 1" in text and all(count in text for count in counts)
    assert "subset" not in text, "a published split is taken whole"
    assert f"split: {'random' if name == 'gowalla' else 'chronological'}" in text


def test_stats_of_ml_1m_in_order_of_time(hapens, mirror):
    code, text = hapens("stats", "ml-1m", "protocol=sdns", "dataset.source=order")
    assert code == 0 and "equal to AHNS Table 1" in text and "split: chronological" in text


def test_what_authors_published_is_fetched_unless_another_source_is_named(hapens, mirror):
    files = {"tmall": "train_user_consumed.pkl", "tools": "train.txt", "pinterest": "_37501.npz"}
    for name, file in files.items():
        code, text = hapens("fetch", name)
        assert code == 0 and file in text
    code, text = hapens("fetch", "tmall", "--source", "gathered")
    assert code == 0 and "events.npz" in text and "pkl" not in text


def test_a_chronological_split_of_what_has_no_times_is_one_sentence(hapens, mirror):
    for name, more in (("pinterest", []), ("gowalla", ["protocol.split.kind=chronological"])):
        code, text = hapens("stats", name, "protocol=sdns", *more)
        assert code == 2 and "this data source has no times" in text and text.count("\n") == 1
