import json
from pathlib import Path

import pandas as pd
import pytest

import hapens_bench as hb
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import TrialFailed, UserError
from tests.runs.archived import TINY

NOTEBOOK = conf_dir().parent / "docs" / "compare_samplers.ipynb"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_one_trial_a_sweep_and_their_frames():
    one = hb.train(*TINY, "sampler=dns")
    assert set(one["selection"]) == {"test_peak", "valid", "valid_refit"} and len(one) == 42
    swept = hb.sweep(*TINY, "sampler=rns,dns", "seed=range(2)")
    assert swept["run_id"].nunique() == 4 and set(one["run_id"]) < set(swept["run_id"])
    every = hb.results(archive="ignore")
    columns = ["run_id", "selection", "metric", "value"]
    order = columns[:3]
    pd.testing.assert_frame_equal(
        every[columns].sort_values(order, ignore_index=True),
        swept[columns].sort_values(order, ignore_index=True),
    )
    dns = every.query("sampler == 'dns'")
    assert hb.epochs(dns)["run_id"].nunique() == 2 and "train/loss" in hb.epochs(dns)
    assert len(hb.users(dns)) == 2 * 3 * 60


def test_mistakes_and_failures_are_exceptions():
    with pytest.raises(UserError, match="these are 2 trials"):
        hb.train(*TINY, "seed=0,1")
    with pytest.raises(UserError, match=r"sampler\.M is 0"):
        hb.train(*TINY, "sampler=dns", "sampler.M=0")
    with pytest.raises(UserError, match=r"there is no sampler 'dsn'; .* did you mean dns\?"):
        hb.train("sampler=dsn")
    with pytest.raises(UserError, match=r"sampler=rns sampler\.M=3: there is no key sampler\.M;"):
        hb.sweep("sampler=dns,rns", "sampler.M=3")
    assert not list(Path("runs").glob("*/*"))
    with pytest.raises(TrialFailed, match="failed"):
        hb.sweep(*TINY, "trainer.lr=1e30")


def test_a_sampler_from_outside(tmp_path):
    (tmp_path / "mine" / "sampler").mkdir(parents=True)
    (tmp_path / "mine" / "own_dns.py").write_text(
        "from hapens_bench.samplers.dns import DNS\n\n\nclass Own(DNS):\n    pass\n"
    )
    text = (conf_dir() / "sampler" / "dns.yaml").read_text()
    text = text.replace("hapens_bench.samplers.dns.DNS", "own_dns.Own").replace(": dns", ": own")
    (tmp_path / "mine" / "sampler" / "own.yaml").write_text(text)
    swept = hb.sweep(*TINY, "sampler=own,dns", f"hydra.searchpath=[file://{tmp_path}/mine]")
    values = swept.pivot_table(index=["selection", "metric"], columns="sampler", values="value")
    assert (values["own"] == values["dns"]).all()


def test_other_attributes_are_none():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hb.nothing  # noqa: B018


@pytest.mark.skipif(not NOTEBOOK.is_file(), reason="a wheel has no docs")
def test_the_notebook_runs_from_top_to_bottom():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    place: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), place)  # the repository's own notebook
    assert list(place["table"].index) == ["ahns", "dns", "rns"]
    assert place["curves"]["hardness/ratio"].notna().all()
