"""The report in a headless Chromium: what a reader sees and does."""

import re
from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.analysis.report import page as report
from hapens_bench.runs import ledger
from tests.analysis.chromium import ROWS, opened, press
from tests.analysis.synthetic import METRICS, make_run


def shown(page) -> pd.DataFrame:
    """Read the leaderboard from the screen."""
    heads = [
        re.sub(" [▾▴]$", "", text)
        for text in page.locator("#leaderboard thead th").all_inner_texts()
    ]
    lines = [row.locator("td").all_inner_texts() for row in page.locator(ROWS).all()]
    return pd.DataFrame(lines, columns=heads).apply(lambda column: column.str.strip())


def expected(runs: Path) -> pd.DataFrame:
    """Compute the same from the ledger with pandas, as the page writes it."""
    frame = ledger.load(runs).frame()
    found = (
        frame.groupby(["dataset", "sampler", "config_id", "selection", "metric"])["value"].agg(
            ["mean", "std"]
        )
        * 100
    )
    found["text"] = [
        f"{m:.2f}" + ("" if s != s else f" ± {s:.2f}")
        for m, s in zip(found["mean"], found["std"], strict=True)
    ]
    return found.reset_index()


def test_it_begins_with_one_data_set_and_the_honest_selection(page):
    table = shown(page)
    assert (
        set(table["dataset"]) == {"tools"}
        and set(table["selection"]) == {"valid_refit"}
        and len(table) == 4
    )
    assert "11 runs of 7 settings on 2 data sets" in page.locator("header").inner_text()
    assert page.locator("#leaderboard").inner_text().count("M=16, lr=0.002") == 1


@pytest.mark.parametrize("metric", METRICS)
def test_sorted_numbers_are_the_ledgers(page, runs, metric):
    for name in ("dataset", "selection"):
        press(page, name, "")
    want = expected(runs)
    assert len(shown(page)) == len(want) // len(METRICS) == 21
    order = want[want["metric"] == metric].sort_values("mean", ascending=False)
    if metric != METRICS[0]:  # by which the page is sorted at first
        page.locator(f'[data-key="sort {metric}"]').click()
    table = shown(page)
    assert table[metric].str.replace(r"\s+", " ", regex=True).tolist() == order["text"].tolist()
    assert table[["dataset", "sampler", "selection"]].agg(tuple, axis=1).tolist() == [
        tuple(row) for row in order[["dataset", "sampler", "selection"]].to_numpy()
    ]
    page.locator(f'[data-key="sort {metric}"]').click()
    assert (
        shown(page)[metric].str.replace(r"\s+", " ", regex=True).tolist()
        == order["text"].tolist()[::-1]
    )


def test_texts_are_sorted_too(page):
    page.locator('[data-key="sort sampler"]').click()
    assert shown(page)["sampler"].tolist() == ["ahns", "dns", "dns", "rns"]
    page.locator('[data-key="sort sampler"]').click()
    assert shown(page)["sampler"].tolist() == ["rns", "dns", "dns", "ahns"]
    assert page.locator('[aria-sort="descending"]').inner_text().startswith("sampler")


def test_filters_leave_what_they_name(page):
    press(page, "selection", "valid")
    assert set(shown(page)["selection"]) == {"valid"} and len(shown(page)) == 4
    press(page, "dataset", "phones")
    assert set(shown(page)["dataset"]) == {"phones"} and len(shown(page)) == 3
    assert (
        page.evaluate("document.activeElement.textContent") == "phones"
    )  # the keyboard's focus stays
    press(page, "dataset", "")
    assert len(shown(page)) == 7
    page.locator("#filters input").press_sequentially("m=16")
    assert shown(page)[["sampler", "setting"]].to_numpy().tolist() == [["dns", "M=16, lr=0.002"]]
    page.locator("#filters input").fill("nothing like it")
    assert (
        len(shown(page)) == 0
        and "No row fits these filters." in page.locator("#leaderboard").inner_text()
    )
    assert "No row is chosen." in page.locator("#metric-chart").inner_text()


def test_best_and_second_are_marked_among_what_is_in_view(page, runs):
    press(page, "dataset", "")
    want = expected(runs)
    want = want[(want["selection"] == "valid_refit") & (want["metric"] == "NDCG@20")].sort_values(
        "mean", ascending=False
    )
    ranked = {dataset: part["text"].tolist() for dataset, part in want.groupby("dataset")}
    place = shown(page).columns.get_loc("NDCG@20") + 1

    def marked(kind: str) -> list[str]:
        found = page.locator(f"{ROWS} td:nth-child({place}).{kind}").all_inner_texts()
        return sorted(re.sub(r"\s+", " ", text).strip() for text in found)

    assert marked("first") == sorted(texts[0] for texts in ranked.values())
    assert marked("second") == sorted(texts[1] for texts in ranked.values())


def test_runs_that_were_best_in_their_last_epoch_are_flagged(page):
    table = shown(page)
    flagged = table["epoch"].str.contains("!")
    assert set(table.loc[flagged, "sampler"]) == {"dns"} and set(
        table.loc[~flagged, "sampler"]
    ) == {"rns", "ahns"}
    assert table["epoch"].str.startswith("5–6").all()


def test_details_show_the_config_and_the_command(page, runs):
    row = page.locator(ROWS).filter(has_text="M=16, lr=0.002")
    row.locator("td button").click()
    details = page.locator("tr.details")
    commands = details.locator("pre.command").all_inner_texts()
    start = "hapens train dataset=tools protocol=ahns model=mf sampler=dns tuned=none"
    start += " sampler.M=16 trainer.lr=0.002"
    assert commands == [f"{start} seed=0", f"{start} seed=1"]
    details.locator("summary").last.click()
    found = [run for run in ledger.load(runs).runs if run["sampler"] == "dns" and run["seed"] == 1]
    folders = [run["folder"] for run in found if run["folder"] in details.inner_text()]
    assert len(folders) == 1
    assert (
        details.locator("pre.config").last.inner_text()
        == (Path(folders[0]) / "config.yaml").read_text()
    )
    assert all(
        text in details.inner_text()
        for text in ("data of tools", "python 3.11", "0123456789", "epoch, valid")
    )
    row.locator("td button").click()
    assert page.locator("tr.details").count() == 0


HOSTILE = "<img src=x onerror='window.hacked=1'>"


def test_strings_of_run_folders_are_shown_and_never_run(browser, tmp_path):
    names = dict.fromkeys(
        ("dataset", "protocol", "model", "sampler", "git_sha", "data_hash"), HOSTILE
    )
    for seed in range(2):
        make_run(tmp_path / "runs", seed=seed, said=names | {"versions": {HOSTILE: HOSTILE}})
    make_run(tmp_path / "runs", sampler="dns").write_status("failed", HOSTILE)
    foreign = make_run(tmp_path / "runs", sampler="ahns")
    (foreign.path / "summary.json").write_text(HOSTILE)
    foreign.write_status("done")
    report.write_report(tmp_path / "runs", tmp_path / "r.html")
    with opened(browser, tmp_path / "r.html") as page:
        page.locator(f"{ROWS} td button").first.click()
        for summary in page.locator("summary").all():
            summary.click()
        assert page.locator("img").count() == 0 and page.evaluate("window.hacked") is None
        assert page.locator("body").inner_text().count(HOSTILE) > 10
        assert "1 thing skipped" in page.locator("#incidents").inner_text()
        assert f"failed {HOSTILE}" in page.locator("#incidents").inner_text()


def test_nothing_can_be_fetched_from_the_page(browser, written):
    page = browser.new_page()
    page.goto(written.as_uri())
    blocked = """() => new Promise(done => {
        document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));
        document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }));
    })"""
    assert page.evaluate(blocked) == "img-src"
    page.close()


def test_an_empty_report_says_so(browser, tmp_path):
    report.write_report(tmp_path, tmp_path / "r.html")
    with opened(browser, tmp_path / "r.html") as page:
        assert "There is no finished run." in page.locator("#leaderboard").inner_text()
        assert "0 runs of 0 settings on 0 data sets" in page.locator("header").inner_text()


def test_a_phone_shows_a_metric_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 844})
    wide = "all => all.filter(x => x.getBoundingClientRect().right > 390).map(x => x.outerHTML)"
    kept = "body *:not(.wide *):not(figure *)"  # those scroll by themselves
    assert page.locator(kept).evaluate_all(wide) == []
    for name in ("test_peak", "valid_refit"):
        press(page, "selection", name)
        head = page.locator(f'[data-key="sort {METRICS[0]}"]').bounding_box()
        assert head["x"] + head["width"] <= 390
    for column in ("dataset", "selection"):
        assert not page.locator(f'[data-key="sort {column}"]').is_visible()
    press(page, "dataset", "")
    assert page.locator('[data-key="sort dataset"]').is_visible()
