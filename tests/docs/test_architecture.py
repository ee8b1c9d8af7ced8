"""The architecture page names the packages there are, in the order of the layers contract."""

import re
import tomllib

import pytest

from hapens_bench.config.paths import conf_dir

ROOT = conf_dir().parent
PAGE = ROOT / "docs" / "architecture.md"
DRAWING = ROOT / "docs" / "images" / "architecture.svg"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="a wheel has no docs")


def contract():
    """The layers of pyproject.toml, from the top down, those beside each other in their order."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = tool["importlinter"]["contracts"][0]["layers"]
    parts = [part.strip() for layer in layers for part in layer.split("|")]
    return [part.removeprefix("hapens_bench.") for part in parts]


def test_the_page_lists_the_layers_in_order():
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE) == contract()


def test_the_drawing_shows_the_layers_in_order():
    shown = re.findall(r'<text class="name"[^>]*>(\w+)</text>', DRAWING.read_text())
    assert [name for name in shown if name in contract()] == contract()


def test_the_contract_knows_every_package():
    package = ROOT / "hapens_bench"
    found = {path.parent.name for path in package.glob("*/__init__.py")}
    found |= {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert found == set(contract())
