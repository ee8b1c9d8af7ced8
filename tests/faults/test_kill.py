import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"


@pytest.mark.faults
@pytest.mark.parametrize("sampler", ["rns", "ahns"])
def test_ten_kills_change_no_bit_of_the_metrics(sampler):
    overrides = [f"sampler={sampler}", "trainer.epochs=40", "dataset.users=2000"]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "10", *overrides], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 10 times" in done.stdout
