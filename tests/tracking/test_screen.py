"""Texts are printed as they are."""

import ast
from pathlib import Path

import pytest
from rich.table import Table

import hapens_bench
from hapens_bench.analysis.formats import print_table
from hapens_bench.launch.job import Job
from hapens_bench.launch.results import show_failures
from hapens_bench.tracking.screen import screen

ODD = [
    "run[/x]",
    "[valid]",
    "[bold]b[/bold]",
    ":smile:",
    "\\[x]",
    "[",
    "protocol.selection=[valid]",
]


@pytest.mark.parametrize("text", ODD)
def test_texts_and_cells_are_literal(capsys, text):
    table = Table(text, title=text)
    table.add_row(text)
    for what in (text, table):
        screen().print(what)
    print_table(text, [text], [[text]])
    assert capsys.readouterr().out.count(text) == 7


@pytest.mark.parametrize("text", ODD)
def test_what_failed_is_literal(capsys, text):
    job = Job({}, [f"paths.runs='{text}'"], state="failed", reason=text)
    show_failures([job], screen())
    out = capsys.readouterr().out
    assert f"failed: {text}\n" in out and job.command in out


def test_every_console_is_a_literal_one():
    makers = {}
    for path in Path(hapens_bench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console":
                makers[path.name] = node.lineno
    assert set(makers) == {"screen.py"}
