"""A headless Chromium that opens reports."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update"
)
ROWS = "#leaderboard tbody tr[data-row]"


def started() -> Iterator:
    """Start the browser, or skip the test without one."""
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        pytest.skip("there is no chromium here to look at the report with")
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
    )
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=[*FLAGS.split(), "--disable-sync"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser, path: Path):
    """Open the report; at the end there must be no error and no request but the file's."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(5000)
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("performance.getEntriesByName('drawn').length")
    yield page
    assert (told, asked) == ([], [path.as_uri()])
    page.close()


def press(page, name: str, value: str) -> None:
    page.locator(f'[data-key="{name} {value}"]').click()
