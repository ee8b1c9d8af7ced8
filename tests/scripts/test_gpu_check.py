"""scripts/gpu: both calls rehearsed on a CPU, and what a killed call leaves."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
if not (ROOT / "scripts" / "gpu").is_dir():
    pytest.skip("a wheel has no scripts", allow_module_level=True)
pytestmark = pytest.mark.slow  # minutes
LIMIT = 300  # seconds of both calls with SMALL=1, on two cores


@pytest.fixture(scope="module")
def packed(mirror):
    with FileLock(ROOT / ".gpu.lock"):  # tests may run side by side
        if not (ROOT / ".gpu" / "commit").exists():
            environment = {**os.environ, "HAPENS_MIRROR": str(mirror), "PYTHON": sys.executable}
            subprocess.run(["bash", "scripts/gpu/pack.sh"], cwd=ROOT, check=True, env=environment)


def complete(out: Path) -> list[str]:
    """Read everything a call left and return the steps it finished."""
    for path in out.glob("*.csv"):
        pd.read_csv(path)
    if (out / "runs.tar.gz").exists():
        with tarfile.open(out / "runs.tar.gz") as archive:
            assert not [name for name in archive.getnames() if "checkpoint" in name]
    steps = out / "steps.csv"
    return pd.read_csv(steps)["step"].tolist() if steps.exists() else []


@pytest.mark.skipif(
    not shutil.which("python3.12"), reason="needs Python 3.12, which the GPU machine has"
)
def test_both_calls_in_a_bare_environment(packed, tmp_path):
    """The first time it installs torch 2.11, gigabytes; BARE names an environment that has it."""
    begun = time.monotonic()
    subprocess.run(
        ["bash", "scripts/gpu/rehearse.sh", "python3.12", str(tmp_path)], cwd=ROOT, check=True
    )
    seconds = {}
    for call, steps in (
        ("1", "versions agree samplers ranking profile trials"),
        ("2", "tune grid bench"),
    ):
        found = pd.read_csv(tmp_path / call / "steps.csv")
        assert found["step"].tolist() == steps.split() and (found["exit"] == 0).all(), found
        seconds[call] = int(found["seconds"].sum())
        assert complete(tmp_path / call) == steps.split()
    assert sum(seconds.values()) < LIMIT, (seconds, time.monotonic() - begun)
    with tarfile.open(tmp_path / "2" / "runs.tar.gz") as archive:
        summaries = [name for name in archive.getnames() if name.endswith("summary.json")]
    assert len(summaries) == 2 + 2 + 12


@pytest.mark.parametrize("call", ["1", "2"])
@pytest.mark.parametrize(
    "instant", [random.Random(7).uniform(5, 60), random.Random(8).uniform(5, 60)]
)
def test_a_call_that_is_killed_leaves_what_it_had(packed, tmp_path, call, instant):
    out, place = tmp_path / "out", tmp_path / "place"
    environment = {
        **os.environ,
        "DEVICE": "cpu",
        "SMALL": "1",
        "PYTHON": sys.executable,
        "PLACE": str(place),
    }
    process = subprocess.Popen(
        ["bash", "scripts/gpu/check.sh", call, str(out)],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(instant)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)
    print(
        f"killed after {instant:.0f} s: steps {complete(out)}, "
        f"files {sorted(p.name for p in out.iterdir())}"
    )
    assert (out / f"check{call}.log").stat().st_size > 0
    logged = (out / f"check{call}.log").read_text()
    assert all(f"== {name}: exit" in logged for name in complete(out))
