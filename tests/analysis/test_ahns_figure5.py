"""The two statements of AHNS Figure 5, on the published curves and on runs trained here.

The runs are on Tools, 100 epochs, one seed.
"""

from pathlib import Path

import pandas as pd
import pytest

from hapens_bench.analysis.figures import definition
from hapens_bench.cli import train

PUBLISHED = Path(__file__).parents[2] / "results" / "figures" / "ahns_fig5.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mirror) -> pd.DataFrame:
    runs = tmp_path_factory.mktemp("runs")
    sweep = [
        "-m",
        "experiment=ahns_fig5",
        "dataset=tools",
        "sampler=rns,dns,ahns",
        f"paths.runs={runs}",
    ]
    assert train.train(sweep) == 0
    return definition.write_figure("ahns_fig5", runs, runs)[0]


@pytest.fixture(
    params=["tools", "phones", "sports", pytest.param("trained", marks=pytest.mark.accuracy)]
)
def curves(request) -> pd.DataFrame:
    if request.param == "trained":
        frame = request.getfixturevalue("trained")
    elif PUBLISHED.is_file():
        frame = pd.read_csv(PUBLISHED).query(f"dataset == '{request.param}'")
    else:
        pytest.skip("a wheel has no results")
    return frame.set_index(["dataset", "panel", "sampler", "epoch"])["mean"].droplevel("dataset")


def drops(curves) -> dict[str, float]:
    """The share of its peak that NDCG@20 has lost at the end."""
    ndcg = curves["test/NDCG@20"]
    return {
        sampler: 1 - ndcg[sampler][99] / ndcg[sampler].max() for sampler in ("rns", "dns", "ahns")
    }


def test_hardness_of_ahns_falls_while_that_of_dns_and_rns_stays(curves):
    hardness = curves["hardness/ratio"]
    assert abs(hardness["ahns"][99]) < 0.1 * hardness["ahns"][10]
    assert hardness["dns"][99] > 0.8 * hardness["dns"][20] > 0.2
    assert all(abs(hardness["rns"][epoch]) < 0.05 for epoch in (20, 50, 99))
    percentile = curves["hardness/percentile"]
    assert (
        percentile["ahns"][0] > 0.9
        and percentile["ahns"][99] < 0.6
        and percentile["dns"][99] > 0.85
    )


def test_ndcg_of_dns_drops_late_more_than_that_of_rns(curves):
    """The paper says that RNS's does not drop; here it does, but less."""
    drop = drops(curves)
    assert drop["dns"] > 0.1 and drop["dns"] > 1.2 * drop["rns"], drop


@pytest.mark.parametrize(
    "curves", ["tools", pytest.param("trained", marks=pytest.mark.accuracy)], indirect=True
)
def test_ndcg_of_ahns_drops_little_on_tools(curves):
    """The paper says that it does not drop on any set."""
    drop = drops(curves)
    assert drop["dns"] > 2 * drop["ahns"], drop


@pytest.mark.parametrize("curves", ["phones", "sports"], indirect=True)
def test_ndcg_of_ahns_drops_as_much_as_that_of_dns_elsewhere(curves):
    """What docs/reproduction/ahns.md calls not reproduced; AHNS still ends above DNS."""
    drop, ndcg = drops(curves), curves["test/NDCG@20"]
    assert abs(drop["ahns"] - drop["dns"]) < 0.03, drop
    assert ndcg["ahns"][99] > ndcg["dns"][99]
