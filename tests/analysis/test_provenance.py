"""What a result says about how it was made."""

import pytest

from hapens_bench.runs.provenance import program


@pytest.mark.parametrize(
    "path, typed",
    [
        ("/home/me/.venv/bin/hapens", "hapens"),
        ("/home/me/hapens_bench/__main__.py", "hapens"),
        ("scripts/hapens/figures.py", "python scripts/hapens/figures.py"),
        ("/home/me/checkout/scripts/hapens/figures.py", "python scripts/hapens/figures.py"),
    ],
)
def test_the_command_is_the_one_that_was_typed(path, typed):
    assert program(path) == typed
