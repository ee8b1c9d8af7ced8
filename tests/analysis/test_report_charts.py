"""The report's charts and tests in a headless Chromium: curves, colours and matrices."""

import json
import re

from hapens_bench.analysis.report import page as report
from tests.analysis.chromium import ROWS, press
from tests.analysis.synthetic import METRICS


def lines(page, chart: str = "metric") -> set[str]:
    return {line.get_attribute("points") for line in page.locator(f"#{chart}-chart polyline").all()}


def test_curves_follow_the_chosen_rows(page):
    first = lines(page)
    assert len(first) == 3 and page.locator("#legend li").count() == 3
    assert page.locator("#metric-chart polygon").count() == 3  # the range over two seeds
    page.locator(f"{ROWS} input:not(:checked)").click()
    assert len(lines(page)) == 4 and {"dns 1", "dns 2"} <= set(
        re.findall(r"dns \d", page.locator("#legend").inner_text())
    )
    page.locator('[data-key="none"]').click()
    assert not lines(page) and page.locator(f"{ROWS} input:checked").count() == 0
    assert "Fewer than two" in page.locator("#matrices").inner_text()
    page.locator(f"{ROWS} input").first.click()
    assert len(lines(page)) == 1 and page.locator("#legend li").count() == 1
    page.locator('[data-key="best"]').click()
    assert lines(page) == first
    press(page, "dataset", "phones")
    assert (
        len(lines(page)) == 3
        and not lines(page) & first
        and page.locator("#metric-chart polygon").count() == 0
    )


def test_curves_show_the_metric_and_the_hardness_that_are_asked_for(page, written):
    seen = []
    for metric in METRICS:
        page.locator("#metric-caption select").select_option(metric)
        seen.append(lines(page))
    for measure in ("ratio", "percentile", "sigmoid", "false_negative_rate"):
        page.locator("#hardness-caption select").select_option(measure)
        seen.append(lines(page, "hardness"))
    assert all(len(one) == 3 for one in seen) and len(set.union(*seen)) == 3 * len(seen)
    press(page, "selection", "valid")
    assert "on the validation part" in page.locator("#metric-caption").inner_text()
    page.locator("#metric-chart svg").hover(position={"x": 300, "y": 100})
    readout = page.locator("#metric-chart .readout").inner_text()
    data = json.loads(page.locator("#ledger").evaluate("one => one.textContent"))
    setting = data["settings"]["sampler"].index("ahns", data["settings"]["dataset"].index("tools"))
    curve = json.loads(page.locator(f"#curves-{setting}").evaluate("one => one.textContent"))[
        "held"
    ]["metrics"]
    epoch = int(re.search(r"epoch (\d+)", readout)[1])
    assert f"ahns\t{curve['curves'][METRICS[-1]][0][curve['epoch'].index(epoch)]:.2f}" in readout


def test_colours_and_dashes_are_the_samplers(page):
    drawn = {
        (line.get_attribute("stroke"), line.get_attribute("stroke-dasharray"))
        for line in page.locator("#metric-chart polyline").all()
    }
    assert drawn == {tuple(report.stroke(sampler)) for sampler in ("rns", "dns", "ahns")}


def test_the_matrix_shows_differences_and_p_values(page, written):
    page.locator("#matrix-choice select").last.select_option("NDCG@20")
    tests = json.loads(page.locator("#tests").evaluate("one => one.textContent"))
    (group,) = (
        one for one in tests if (one["dataset"], one["selection"]) == ("tools", "valid_refit")
    )
    test = group["metrics"]["NDCG@20"]
    for k, p_values in enumerate((test["seeds"], test["users"])):
        cells = (
            page.locator("#matrices table")
            .nth(k)
            .locator("tbody tr")
            .nth(0)
            .locator("td")
            .all_inner_texts()
        )
        below = (
            page.locator("#matrices table")
            .nth(k)
            .locator("tbody tr")
            .nth(2)
            .locator("td")
            .nth(0)
            .inner_text()
        )
        for cell, difference, p in zip(cells[1:], test["difference"], p_values, strict=False):
            words = "p < 0.001" if p < 0.001 else f"p {p:.3f}"
            assert cell.split("\n") == [f"{difference:+.2f}", words]
        assert below.split("\n")[0] == f"{-test['difference'][1]:+.2f}"
    press(page, "dataset", "phones")
    assert page.locator("#matrices table").first.inner_text().count("n = 1 seeds: no test") == 6
    assert page.locator("#matrices table").last.locator("small", has_text="p ").count() == 6
