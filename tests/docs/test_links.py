"""Every link and every path that README and docs name leads somewhere."""

import importlib
import re
from pathlib import Path

import pytest

from hapens_bench.config.paths import conf_dir

ROOT = conf_dir().parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PAGES = [page for page in PAGES if page.is_file()]
MADE = {ROOT / "docs" / "reference" / "keys.md"}  # by scripts/docs/hooks.py, when the site is built
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"(?<![\w./-])(?:hapens_bench|hydra_plugins|conf|scripts|tests)/[\w./-]+")
MODULE = re.compile(r"\bhapens_bench(?:\.\w+)+")
WITHOUT_LIMIT = re.compile(r"^\s*(\||!?\[.*\]\(|\S+$)|https?://")

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="a wheel has no docs")


def names(pages):
    return [page.relative_to(ROOT).as_posix() for page in pages]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(re.sub(r"\s", "-", text))
    return found


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    wrong = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if path in MADE:
            continue
        known = not anchor or path.suffix != ".md" or not path.is_file() or anchor in anchors(path)
        if not path.exists() or not known:
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_paths_and_modules_exist(page):
    text, wrong = page.read_text(), []
    for place in PLACE.findall(text):  # of one with a part in <>: what stands before that
        path = ROOT / place.rstrip(".")
        many = list(path.parent.glob(f"{path.name}*")) if place.endswith("-") else []  # before a *
        if not path.exists() and not many and path.stem != "mine":  # which the reader writes
            wrong.append(place)
    for name in MODULE.findall(text):
        parts = name.split(".")
        if parts[-1] in ("py", "md", "yaml"):
            continue
        if not importable(parts):
            wrong.append(name)
    assert not wrong


def importable(parts: list[str]) -> bool:
    """Whether a dotted name is a module, or something that a module holds."""
    for end in (len(parts), len(parts) - 1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        return end == len(parts) or hasattr(module, parts[-1])
    return False


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_lines_of_prose_are_short(page):
    lines = FENCE.sub("", page.read_text()).splitlines()
    long = [line for line in lines if len(line) > 100 and not WITHOUT_LIMIT.search(line)]
    assert not long
