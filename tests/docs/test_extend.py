"""What docs/extend.md shows trains from a folder outside the package, as it is written there."""

import json
import re

import pytest

from hapens_bench.config.paths import conf_dir
from tests.commands import hapens

PAGE = conf_dir().parent / "docs" / "extend.md"
FILE = re.compile(r"^`mine/([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = ["trainer.epochs=2", "trainer.batch_size=128", "dataset.users=60"]

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="a wheel has no docs")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILE.findall(PAGE.read_text()):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["model=bias_mf", "model.D=8"],
        ["model=bias_mf", "trainer.engine=reference"],
        ["loss=exponential", "loss.tau=2"],
        ["protocol.metrics=[Recall@20,first_page.both_halves@20]"],
    ],
)
def test_it_trains(mine, words):
    done = hapens(mine, "train", "--config-dir", str(mine), *words, *SMALL)
    assert done.returncode == 0, done.stderr


def test_a_metric_of_ones_own_is_in_the_summary(mine):
    found = [json.loads(path.read_text()) for path in mine.glob("runs/**/summary.json")]
    reports = [one["selection"]["test_peak"]["test"] for one in found]
    assert any("first_page.both_halves@20" in report for report in reports)


def test_a_wrong_key_is_one_sentence(mine):
    words = ["loss=exponential", "loss.tau=0"]
    done = hapens(mine, "train", "--config-dir", str(mine), *words)
    assert done.returncode == 2 and "loss.tau is 0" in done.stderr
