"""Where numbers come from."""

from __future__ import annotations

import json
import os
import platform
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
    """Name what was typed: a script of ours by its path in the checkout, anything else is `hapens`."""
    parts = Path(path).parts
    if "scripts" not in parts or not path.endswith(".py"):
        return "hapens"
    return f"python {'/'.join(parts[parts.index('scripts') :])}"


def provenance(used: Sequence[Mapping[str, Any]], files: Sequence[str]) -> str:
    """Give, as JSON, what stands beside the files of a result made of these runs (summaries): command, commits, data, seeds, ids.

    It is worked out before any file is written, because it notes a changed checkout.
    """
    found = {
        "files": list(files),
        "command": " ".join([program(sys.argv[0]), *sys.argv[1:]]),
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
    return json.dumps(found, indent=1) + "\n"


@lru_cache(maxsize=1)
def git_sha() -> str:
    """Return the commit of the checkout the package runs from, with `-dirty` for changes, or its version.

    Where the files came without their history, HAPENS_COMMIT may name the commit.
    """
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
        return os.environ.get("HAPENS_COMMIT") or f"version {hapens_bench.__version__}"


def versions() -> dict[str, str]:
    """Give the versions that a result may depend on."""
    return {
        "hapens_bench": hapens_bench.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
