"""A sampler from a folder outside the package, added as docs/add_a_sampler.md says: one .py and one .yaml."""

import os
import subprocess
import sys

MODULE = '''
from hapens_bench.config.keys import Key
from hapens_bench.samplers.base import Sampler, pick


class Easiest(Sampler):
    """The candidate with the lowest score."""

    keys = {"M": Key(int, low=1, shared=True)}

    def __init__(self, M):
        super().__init__()
        self.pool_size = M

    def draw(self, batch, encoded, pool, rng):
        return pick(pool, encoded.score(batch.users, pool).argmin(-1))
'''


def test_a_sampler_outside_the_package_trains(tmp_path):
    (tmp_path / "sampler").mkdir()
    (tmp_path / "easiest.py").write_text(MODULE)
    (tmp_path / "sampler" / "easiest.yaml").write_text(
        "_target_: easiest.Easiest\nname: easiest\nM: 4\n"
    )
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
        "sampler=easiest",
        *small,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/planted/mf/easiest/*/summary.json"))
