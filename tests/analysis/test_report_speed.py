"""How long a large report takes to open, by the page's own clock."""

import time

import pytest

from hapens_bench.analysis.report import page as report
from tests.analysis.chromium import opened
from tests.analysis.synthetic import thousand_runs


@pytest.mark.slow
def test_a_thousand_trials_open_in_two_seconds(browser, tmp_path, capsys):
    thousand_runs(tmp_path / "runs")
    begun = time.perf_counter()
    report.write_report(tmp_path / "runs", tmp_path / "r.html")
    seconds = time.perf_counter() - begun
    with opened(browser, tmp_path / "r.html") as page:
        millis = page.evaluate("performance.getEntriesByName('drawn')[0].startTime")
        for name in ("dataset", "selection"):
            page.locator(f'[data-key="{name} "]').click()
        # Only 200 rows are drawn until more are requested.
        assert page.locator("#leaderboard tbody tr[data-row]").count() == 200
        everything = page.evaluate(
            "(() => { const begun = performance.now(); draw();"
            " return performance.now() - begun; })()"
        )
        page.locator("#more button").click()
        assert page.locator("#leaderboard tbody tr[data-row]").count() == 3 * 500
        size = (tmp_path / "r.html").stat().st_size / 2**20
    with capsys.disabled():
        print(
            f"\n1,000 trials: made in {seconds:.0f} s, {size:.1f} MiB, "
            f"drawn after {millis:.0f} ms, redrawn in {everything:.0f} ms"
        )
    assert millis < 2000
