"""The commands of docs/guide/own_data.md run as they stand, in their order."""

import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from hapens_bench.config.paths import conf_dir
from tests.commands import hapens
from tests.ratings import ratings

PAGE = conf_dir().parent / "docs" / "guide" / "own_data.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a wheel has no docs")
def test_the_commands_of_the_page_run(tmp_path):
    names = ["user_id", "item_id", "rating", "timestamp"]
    log = ratings(names, "u", "b ")
    log.to_csv(tmp_path / "ratings.csv", index=False)
    folders = {"HAPENS_CONFIG": str(tmp_path / "conf"), "HAPENS_CACHE": str(tmp_path / "cache")}
    here = {**os.environ, **folders, "PYTHONPATH": str(PAGE.parents[2])}
    blocks = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    for language, block in blocks:
        runs = sorted(tmp_path.glob("runs/books/mf/dns/*"))
        code = block.replace("RUN", runs[0].name) if runs else block
        if language == "python":
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=here, check=True)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            done = hapens(tmp_path, *words, **folders)
            assert program == "hapens" and done.returncode == 0, f"{line}\n{done.stderr}"
    best = pd.read_csv(tmp_path / "best.csv")
    assert set(best["user"]) == set(log["user_id"]) and set(best["item"]) <= set(log["item_id"])
