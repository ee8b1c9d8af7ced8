"""The page of the reality check is filled from the table's files, and is what they give."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.analysis.tables.definition import read_definition
from hapens_bench.config.paths import conf_dir

ROOT = conf_dir().parent
PATH = ROOT / "scripts" / "docs" / "reality_page.py"
pytestmark = pytest.mark.skipif(not PATH.exists(), reason="a wheel has no scripts")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reality_page", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score(sampler, mean, metric="Recall@20"):
    row = {"dataset": "tools", "sampler": sampler, "metric": metric, "mean": mean}
    return row | {"seconds": 12.4}


def lead(sampler, against, difference, p_seeds, p_users):
    row = {"dataset": "tools", "metric": "Recall@20", "sampler": sampler, "against": against}
    row |= {"difference": difference, "seeds_low": difference - 0.2, "seeds_high": difference + 0.2}
    return row | {"p_t_holm": p_seeds, "p_users_holm": p_users}


@pytest.fixture
def numbers(script, tmp_path):
    scores = [score("rns", 8.0), score("dns", 8.5), score("ease", 9.5), score("sl", 9.0)]
    scores += [score("dns", 3.25, "RecallTail@20"), score("dns", 30, "Coverage@20")]
    pd.DataFrame(scores).to_csv(tmp_path / "reality_check.csv")
    tests = [lead("rns", "dns", -0.5, 0.01, 0.0001), lead("rns", "sl", -1.0, 0.01, 0.01)]
    tests += [lead("ease", "dns", 1.0, 0.01, 0.01), lead("ease", "sl", 0.5, 0.2, 0.01)]
    pd.DataFrame(tests).to_csv(tmp_path / "reality_check_tests.csv")
    row = {"dataset": "tools", "metric": "Recall@20", "against": "dns", "p": 0.02}
    ends = [(1, -0.3, 3, 4), (5, 0.0, 6, 6), (10, 0.7, 20, 90)]
    keys = ("decile", "difference", "items_low", "items_high")
    activity = [row | dict(zip(keys, end, strict=True)) for end in ends]
    pd.DataFrame(activity).to_csv(tmp_path / "reality_check_activity.csv")
    return script.Numbers(tmp_path, read_definition("reality_check"))


def test_every_part_says_what_the_files_say(script, numbers):
    parts = {name: "\n".join(part(numbers)) for name, part in script.PARTS.items()}
    best = "ease 9.50, sl 9.00, dns 8.50"
    assert f"| tools | 4 of 24 | {best} | 8.00 | 9.00 | 9.50 |" in parts["standings"]
    assert "| tools | dns | +0.50 | +0.30 … +0.70 | 0.010 | <0.001 |" in parts["over rns"]
    assert "| sl |" not in parts["over rns"] and "above rns at 5%" in parts["over rns"]
    said = (
        "- tools: above ease at 5% over users and seeds: none; below: dns; 1 of 2 cannot be told."
    )
    assert (
        said in " ".join(parts["over ease"].split())
        and "| tools | dns | -1.00 |" in parts["over ease"]
    )
    assert parts["over sl"] == "Not run yet."
    equal = {"dataset": "tools", "method": "itemknn", "lead": -1.0, "seeds": float("nan")}
    (line,) = script.verdict("ease", [equal | {"users": 0.001}])
    assert "below: itemknn; 0 of 1" in line
    assert "| tools | dns | 30.00 | – | – | 3.25 |" in parts["items"]
    assert "| dns | +0.30 (3–4 items, p 0.020) | -0.70 (20–90 items, p 0.020) |" in parts["users"]
    assert "| ease | 12 |" in parts["cost"]


def test_a_page_keeps_its_text_and_needs_every_place(script, numbers):
    places = "".join(f"<!-- {name} -->BEFORE<!-- end -->\n" for name in script.PARTS)
    page = f"top\n{places}end"
    once = script.filled(page, numbers)
    assert "BEFORE" not in once and once.startswith("top\n") and once.endswith("end")
    assert script.filled(once, numbers) == once
    with pytest.raises(SystemExit, match="0 places for 'cost'"):
        script.filled(page.replace("<!-- cost -->", ""), numbers)


def test_the_shipped_page_is_what_the_shipped_table_gives(script):
    page = Path(script.PAGE).read_text()
    assert (
        script.filled(page, script.Numbers(script.TABLES, read_definition("reality_check"))) == page
    )
