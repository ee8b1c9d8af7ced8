"""The example of docs/add_a_sampler.md trains from a folder outside the package."""

import os
import re
import subprocess
import sys

import pytest

from hapens_bench.config.paths import conf_dir

PAGE = conf_dir().parent / "docs" / "add_a_sampler.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a wheel has no docs")
def test_a_sampler_outside_the_package_trains(tmp_path):
    blocks = dict(re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    (tmp_path / "sampler").mkdir()
    (tmp_path / "boltzmann.py").write_text(blocks["python"])
    (tmp_path / "sampler" / "boltzmann.yaml").write_text(blocks["yaml"])
    small = [
        "trainer.epochs=2",
        "trainer.batch_size=128",
        "dataset.users=60",
        f"paths.runs={tmp_path}/runs",
        f"paths.cache={tmp_path}/cache",
    ]
    command = [
        sys.executable,
        "-m",
        "hapens_bench",
        f"hydra.searchpath=[file://{tmp_path}]",
        "sampler=boltzmann",
        *small,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/planted/mf/boltzmann/*/summary.json"))
