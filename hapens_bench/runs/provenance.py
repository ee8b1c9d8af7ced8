"""Where numbers come from: command, commit, versions, data and runs."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hapens_bench


def program(path: str) -> str:
    """Return what was typed: the path in the checkout of a script of ours, else `hapens`."""
    parts = Path(path).parts
    if "scripts" not in parts or not path.endswith(".py"):
        return "hapens"
    return f"python {'/'.join(parts[parts.index('scripts') :])}"


def provenance(used: Sequence[Mapping[str, Any]], files: Sequence[str]) -> str:
    """Return as JSON the provenance of a result made from these runs (summaries).

    It has command, commits, data, seeds and ids. Call it before any file is written, because it
    records a changed checkout.
    """
    content = {
        "files": list(files),
        "command": " ".join([program(sys.argv[0]), shlex.join(sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_sha": git_sha(),
        "git_sha_of_runs": sorted({run["git_sha"] for run in used}),
        "versions": versions(),
        "data_hashes": {run["dataset"]: run["data_hash"] for run in used},
        "seeds": sorted({run["seed"] for run in used}),
        "selections": sorted({selection for run in used for selection in run["selection"]}),
        "runs": [
            {
                key: run[key]
                for key in ("run_id", "config_id", "dataset", "model", "sampler", "seed")
            }
            for run in used
        ],
    }
    return json.dumps(content, indent=1) + "\n"


@lru_cache(maxsize=1)
def git_sha() -> str:
    """Return the commit of the checkout, with `-dirty` for changes, or the package's version.

    HAPENS_COMMIT names the commit of code that was copied somewhere without its history.
    """
    if named := os.environ.get("HAPENS_COMMIT"):
        return named
    home = Path(hapens_bench.__file__).parent.parent
    try:
        call = [
            "git",
            "-C",
            str(home),
            "describe",
            "--always",
            "--abbrev=40",
            "--dirty",
            "--exclude=*",
        ]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"version {hapens_bench.__version__}"


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {
        "hapens_bench": hapens_bench.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
