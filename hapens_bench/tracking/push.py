"""Filling a tracker from finished run folders."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from hapens_bench.config.paths import conf_dir
from hapens_bench.config.quoting import hydra_value
from hapens_bench.runs.folder import RunFolder
from hapens_bench.tracking.naming import describe
from hapens_bench.tracking.sink import RunInfo, make

WAITING = ("limit", "patience")  # options that change nothing in what is sent


def push(folder: RunFolder, tracker: str, options: Mapping[str, Any], again: bool) -> bool:
    """Send a finished run's files to a tracker; return whether they were sent.

    They are not if the tracker has them already with the same options, unless `again` is set.

    Raises:
        DamagedRun: when a file cannot be read. Exception: whatever the tracker raises.
    """
    summary, pushed = folder.read_summary(), folder.read_pushed()
    digest = hashlib.sha256((folder.path / "summary.json").read_bytes()).hexdigest()[:12]
    kept = {key: value for key, value in options.items() if key not in WAITING}
    record = {"options": kept, "summary": digest}
    if pushed.get(tracker) == record and not again:
        return False
    rows = [
        {str(key): value for key, value in row.items() if pd.notna(value)}
        for row in folder.read_frame("history").to_dict("records")
    ]
    info = describe(folder.read_config(), folder.path, rows)
    sink = make(options)
    try:
        sink.start(info)
        sink.finish(summary)
    except Exception as error:
        with contextlib.suppress(Exception):
            sink.fail(f"hapens push failed: {error}")
        raise
    folder.write_pushed({**pushed, tracker: record})
    return True


def push_command(tracker: str, section: Mapping[str, Any], runs: Sequence[RunInfo]) -> str:
    """Return the command that sends finished runs to a tracker with the options of a section.

    It is empty for a tracker that `hapens push` does not know.
    """
    file = conf_dir() / "logger" / f"{tracker}.yaml"
    if not file.is_file():
        return ""
    root = Path(runs[0].config["paths"]["runs"]).expanduser()
    # not composed: in `hapens train` Hydra composes nothing else
    shipped = OmegaConf.create({**OmegaConf.load(file), "paths": {"runs": str(root)}})
    default = OmegaConf.to_container(shipped[tracker], resolve=True)
    assert isinstance(default, dict)
    options = [
        f"{key}={hydra_value(value)}"
        for key, value in section.items()
        if key in default and key not in WAITING and value != default[key]
    ]
    words = ["hapens", "push", tracker, "--runs", str(root), "--run", *(r.run_id for r in runs)]
    return shlex.join([*words, *(["--set", *options] if options else [])])
