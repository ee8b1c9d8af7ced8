from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hapens_bench.analysis.report import page as report
from tests.analysis import chromium
from tests.analysis.runs import write_run
from tests.analysis.synthetic import some_runs


@pytest.fixture(scope="module")
def browser():
    yield from chromium.started()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Run folders of several settings; a module may define its own."""
    root = tmp_path_factory.mktemp("runs")
    some_runs(root)
    return root


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "report.html"
    report.write_report(runs, out)
    return out


@pytest.fixture
def page(browser, written):
    with chromium.opened(browser, written) as shown:
        yield shown


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two seeds of three samplers, one setting each."""
    root = tmp_path_factory.mktemp("runs")
    for sampler in ("rns", "dns", "ahns"):
        for seed in (0, 1):
            write_run(root, "dataset=tools", f"sampler={sampler}", f"seed={seed}")
    return root


@pytest.fixture
def draw(tmp_path):
    """Write a figure of a folder of runs and return its data."""
    from hapens_bench.analysis.figures import definition as figures

    return lambda root, name, stage=None, **where: figures.write_figure(
        name, root, tmp_path / "out", where, stage
    )


@pytest.fixture
def own_figure(tmp_path, monkeypatch):
    """Write a custom figure into a custom conf/figure."""
    from hapens_bench.analysis.figures import definition as figures

    (tmp_path / "conf" / "figure").mkdir(parents=True)
    monkeypatch.setattr(
        figures, "conf_file", lambda group, name: tmp_path / "conf" / group / f"{name}.yaml"
    )

    def write(**definition) -> None:
        OmegaConf.save(OmegaConf.create(definition), tmp_path / "conf" / "figure" / "own.yaml")

    return write
