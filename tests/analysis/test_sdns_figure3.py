"""The statement of SDNS Figure 3 on runs of its experiment: DNS over-fits with H, SDNS does not.

    HAPENS_MIRROR=../shared/data hapens train -m experiment=sdns_fig3 dataset=tmall
    pytest -m accuracy -s tests/analysis/test_sdns_figure3.py

The runs take hours on a CPU, so they are read from $HAPENS_RUNS or `runs`, not made here. -s prints
peaks and ends.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from hapens_bench.analysis.figures import definition
from hapens_bench.config.identity import config_id, run_id
from hapens_bench.errors import UserError
from hapens_bench.launch.experiments import planned

PANEL = "valid/Recall@50"
H = [8, 16, 32, 64]


def falls(runs: Path, out: Path, dataset: str) -> pd.DataFrame:
    """Return the peak, the end (percent) and the fall as a share of the peak, by sampler and H."""
    try:
        frame, notes = definition.write_figure("sdns_fig3", runs, out, {"dataset": [dataset]})
    except UserError as error:
        pytest.skip(str(error))
    if missing := [note for note in notes if note.startswith("not run yet")]:
        pytest.skip(missing[0])
    rows = []
    for (sampler, setting), line in frame[frame["panel"] == PANEL].groupby(["sampler", "setting"]):
        curve = line.set_index("epoch")["mean"].sort_index()
        row = {
            "sampler": sampler,
            "H": int(setting.removeprefix("M=")),
            "epoch": curve.idxmax(),
            "peak": curve.max(),
        }
        rows.append(row | {"end": curve.iloc[-1], "fall": 1 - curve.iloc[-1] / curve.max()})
    found = pd.DataFrame(rows).set_index(["sampler", "H"]).sort_index()
    print(f"\n{dataset}\n{found.round(4).to_string()}")
    return found


def dns_over_fits_with_h(found: pd.DataFrame) -> None:
    fall, peak = found["fall"]["dns"], found["epoch"]["dns"]
    assert fall[64] > 0.05 and fall[64] > 2 * fall[8], fall.to_dict()
    assert np.corrcoef(np.log2(H), fall[H])[0, 1] > 0.8, fall.to_dict()
    assert peak[64] < peak[8], peak.to_dict()


def sdns_does_not(found: pd.DataFrame) -> None:
    fall, end = found["fall"], found["end"]
    for size in (32, 64):
        assert fall["sdns"][size] < 0.5 * fall["dns"][size], fall.to_dict()
        assert end["sdns"][size] > end["dns"][size], end.to_dict()
    assert fall["sdns"].max() < 0.05, fall.to_dict()


@pytest.fixture(scope="module", params=["tmall", "taobao"])
def measured(request, tmp_path_factory) -> pd.DataFrame:
    return falls(
        Path(os.environ.get("HAPENS_RUNS", "runs")),
        tmp_path_factory.mktemp("figure"),
        request.param,
    )


@pytest.mark.accuracy
def test_dns_over_fits_with_h(measured):
    dns_over_fits_with_h(measured)


@pytest.mark.accuracy
def test_sdns_does_not_over_fit(measured):
    sdns_does_not(measured)


def write_curves(root: Path, over_fitting: str) -> None:
    """Write the experiment's runs on Tmall.

    One sampler's fall after their peak by half a percent times H; the others rise.
    """
    for trial in planned("sdns_fig3", root, ["tmall"]):
        config, folder = trial.job.config, trial.job.folder
        size, name = config["sampler"]["M"], config["sampler"]["name"]
        top = 100 - size if name == over_fitting else 290
        end = 1 - 0.005 * size if name == over_fitting else 1.0
        curve = np.interp(range(0, 300, 10), [0, top, 290], [0, 0.1, 0.1 * end])
        rows = [
            {"stage": "held", "epoch": 10 * k, PANEL: v, "valid/NDCG@50": v / 2}
            for k, v in enumerate(curve)
        ]
        folder.write_config(OmegaConf.to_yaml(OmegaConf.create(config)))
        folder.write_history(rows)
        said = {
            "run_id": run_id(config),
            "config_id": config_id(config),
            "data_hash": "h",
            "git_sha": "g",
            "seed": 0,
        }
        said |= {"dataset": "tmall", "sampler": name, "model": "lightgcn"}
        folder.write_summary(
            said | {"selection": {"valid": {"epoch": 100, "converged": True, "test": {}}}}
        )
        folder.write_status("done")


def test_the_statement_holds_where_dns_over_fits_and_fails_where_sdns_does(tmp_path):
    write_curves(tmp_path / "as_printed", "dns")
    found = falls(tmp_path / "as_printed", tmp_path, "tmall")
    assert found.loc[("dns", 64), "peak"] == pytest.approx(10, rel=0.1)
    assert found.loc[("dns", 64), "fall"] == pytest.approx(0.32, abs=0.02)
    assert found.loc[("sdns", 64), ["epoch", "fall"]].tolist() == [290, 0]
    dns_over_fits_with_h(found)
    sdns_does_not(found)
    write_curves(tmp_path / "reversed", "sdns")
    found = falls(tmp_path / "reversed", tmp_path, "tmall")
    for statement in (dns_over_fits_with_h, sdns_does_not):
        with pytest.raises(AssertionError):
            statement(found)
