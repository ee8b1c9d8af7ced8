"""The reference of keys, which is made when the site is built, has every declared key."""

import runpy

import pytest

from hapens_bench.config.components import component_class
from hapens_bench.config.paths import conf_dir
from tests.conftest import make_config

SCRIPT = conf_dir().parent / "scripts" / "docs" / "keys.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="a wheel has no scripts")


def test_every_declared_key_is_in_the_reference():
    page = runpy.run_path(str(SCRIPT))["page"]()
    for group in ("sampler", "loss", "model"):
        for path in (conf_dir() / group).glob("*.yaml"):
            config = make_config(f"{group}={path.stem}", "tuned=none")[group]
            assert f"`{group}={path.stem}`" in page
            for name, key in component_class(config).keys.items():
                rows = [line for line in page.splitlines() if line.startswith(f"| `{group}.{name}")]
                assert rows and (key.kind is dict or any(key.allowed() in row for row in rows))
