"""The example of docs/add_a_sampler.md trains from a folder outside the package."""

import re

import pytest

from hapens_bench.config.paths import conf_dir
from tests.commands import hapens

PAGE = conf_dir().parent / "docs" / "add_a_sampler.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a wheel has no docs")
@pytest.mark.parametrize(
    "named",
    [
        ["--config-dir", "{folder}"],
        ["-m", "hydra.searchpath=[file://{folder}]", "hydra.launcher.devices=[cpu,cpu]"],
    ],
    ids=["config_dir", "searchpath and workers"],
)
def test_a_sampler_outside_the_package_trains(tmp_path, named):
    blocks = dict(re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    (tmp_path / "sampler").mkdir()
    assert "--config-dir mine" in PAGE.read_text()
    (tmp_path / "boltzmann.py").write_text(blocks["python"])
    (tmp_path / "sampler" / "boltzmann.yaml").write_text(blocks["yaml"])
    small = [
        "trainer.epochs=2",
        "trainer.batch_size=128",
        "dataset.users=60",
    ]
    words = [word.format(folder=tmp_path) for word in named]
    done = hapens(tmp_path, "train", *words, "sampler=boltzmann", *small)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/planted/mf/boltzmann/*/summary.json"))
