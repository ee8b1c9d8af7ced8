"""The files of one trial, which are the truth about it.

A kill at any instant leaves each file old or new, never half.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hapens_bench.config.identity import run_id
from hapens_bench.runs.files import DamagedRun, Files
from hapens_bench.runs.lock import hold

LOG = logging.getLogger("hapens_bench.tracking")
SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
# The arrays that a key of the trainer writes for other trials and figures:
ARTEFACTS = {"user_hardness": "hardness", "best_model": "model"}
FOUND = (
    *("config.yaml", "summary.json", "history.parquet", "users.parquet", "ranks.parquet"),
    "indicators.parquet",
    *(f"{name}.npz" for name in ARTEFACTS.values()),
)


class RunFolder(Files):
    """The files of one run.

    `config.yaml status.json summary.json history.parquet users.parquet ranks.parquet
    indicators.parquet hardness.npz model.npz checkpoint.pt pushed.json`
    """

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run until the end of the block or of this process (see `runs.lock`).

        Half-written temporary files of a killed holder are removed.

        Raises:
            RunBusy: when another live process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with hold(self.path):
            for leftover in self.path.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            yield

    def write_config(self, text: str) -> None:
        """Write the resolved config."""
        self._write("config.yaml", text.encode())

    def config_sections(self) -> list[str]:
        """Return the text of the resolved config, one string per section.

        Raises:
            DamagedRun: when there is none, it cannot be read, or its end is missing.
        """
        try:
            text = self._read("config.yaml").decode()
        except UnicodeError as error:
            raise DamagedRun(f"config.yaml cannot be read: {error}") from error
        if not text.endswith("\n"):
            raise DamagedRun("config.yaml cannot be read: its end is missing")
        return SECTION.split(text)

    def read_config(self) -> dict[str, Any]:
        """Return the resolved config.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        return parse_config(self.config_sections())

    def write_status(self, state: str, reason: str | None = None) -> None:
        """Write `running`, `done` or `failed`, with the reason of a failure.

        The status of a finished run has the checksums of its results.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status: dict[str, Any] = {"state": state, "reason": reason, "time": now, "pid": os.getpid()}
        if state == "done":
            paths = [self.path / name for name in FOUND if (self.path / name).exists()]
            status["crc32"] = {path.name: zlib.crc32(path.read_bytes()) for path in paths}
        self._write_json("status.json", status)

    def read_status(self) -> dict[str, Any] | None:
        """Return the status, or None where there is none.

        Raises:
            DamagedRun: when it cannot be read.
        """
        return self._read_json("status.json") if (self.path / "status.json").exists() else None

    def state(self) -> str | None:
        """Return the state in the status, or None where there is none or it cannot be read."""
        try:
            return (self.read_status() or {}).get("state")
        except DamagedRun:
            return None

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the history, one row per epoch."""
        self._write_parquet("history.parquet", pd.DataFrame(list(rows)))

    def write_users(self, frame: pd.DataFrame) -> None:
        """Write the per-user metrics at the reported epoch of each selection."""
        self._write_parquet("users.parquet", frame)

    def write_ranks(self, frame: pd.DataFrame) -> None:
        """Write the places of test items in the top K at the reported epoch of each selection."""
        self._write_parquet("ranks.parquet", frame)

    def write_indicators(self, frame: pd.DataFrame) -> None:
        """Write the sampler's state for pairs with known relevance, one row per pair."""
        self._write_parquet("indicators.parquet", frame)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the results of the run."""
        self._write_json("summary.json", summary)

    def read_summary(self) -> dict[str, Any]:
        """Return the results of the run.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        return self._read_json("summary.json")

    def read_frame(self, name: str) -> pd.DataFrame:
        """Return `history`, `users`, `ranks` or `indicators`.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        try:
            return pd.read_parquet(io.BytesIO(self._read(f"{name}.parquet")))
        except DamagedRun:
            raise
        except Exception as error:
            raise DamagedRun(f"{name}.parquet cannot be read: {error}") from error

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays to <name>.npz."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._write(f"{name}.npz", buffer.getbuffer())

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of <name>.npz.

        Raises:
            DamagedRun: when there are none or they cannot be read.
        """
        try:
            with np.load(io.BytesIO(self._read(f"{name}.npz")), allow_pickle=False) as arrays:
                return dict(arrays)
        except DamagedRun:
            raise
        except Exception as error:
            raise DamagedRun(f"{name}.npz cannot be read: {error}") from error

    def write_pushed(self, pushed: Mapping[str, Any]) -> None:
        """Write what `hapens push` has sent to each tracker."""
        self._write_json("pushed.json", pushed)

    def read_pushed(self) -> dict[str, Any]:
        """Return what was sent to each tracker; empty where there is no record.

        Raises:
            DamagedRun: when it cannot be read.
        """
        return self._read_json("pushed.json") if (self.path / "pushed.json").exists() else {}

    def is_done(self) -> bool:
        """Return whether the run is finished and its results are undamaged."""
        try:
            if self.state() != "done":
                return False
            for name in self._checksums():
                self._read(name)
            return bool(self.read_summary())
        except DamagedRun:
            return False

    def _checksums(self) -> Mapping[str, int]:
        """Return the checksums of a finished run's results; none for older or unfinished runs."""
        try:
            checksums = json.loads((self.path / "status.json").read_bytes()).get("crc32", {})
        except (OSError, ValueError, AttributeError):
            return {}
        return checksums if isinstance(checksums, dict) else {}

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write the state that a resume needs: tensors and plain values only."""
        import torch  # a second, and what lists runs opens no checkpoint

        # Straight into the file: gigabytes, where a sampler remembers pairs.
        self._write("checkpoint.pt", lambda file: torch.save(dict(state), file))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the checkpoint, if any; an unreadable one is set aside with a warning."""
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        import torch

        try:
            # torch.load does not verify the checksums of the archive.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise DamagedRun(f"the checksum of {damaged} is wrong")
            state = torch.load(path, weights_only=True, map_location="cpu")
            if not isinstance(state, dict):
                raise DamagedRun("it holds no dictionary")
            return state
        except Exception as error:
            LOG.warning(
                "%s cannot be read (%s); it is set aside and the run starts over", path, error
            )
            os.replace(path, self.path / "checkpoint.corrupt")
            return None

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, if there is one."""
        (self.path / "checkpoint.pt").unlink(missing_ok=True)


def parse_config(sections: Sequence[str]) -> dict[str, Any]:
    """Return the config whose sections have these texts; read it, do not change it.

    Thousands of runs have few different sections. Each is parsed once and shared by all of them.

    Raises:
        DamagedRun: when it is not YAML or not a mapping.
    """
    return {key: value for section in sections for key, value in _parse(section).items()}


@cache
def _parse(section: str) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(io.StringIO(section)))
    except Exception as error:  # a truncated or foreign file can raise anything
        raise DamagedRun(f"config.yaml cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise DamagedRun("config.yaml is not a mapping")
    return {str(key): value for key, value in content.items()}


def run_folder(config: Mapping[str, Any]) -> RunFolder:
    """Return the folder of a config's run, runs/<dataset>/<model>/<sampler>/<run_id>."""
    path = Path(config["paths"]["runs"]).expanduser()
    return RunFolder(
        path.joinpath(
            *(config[key]["name"] for key in ("dataset", "model", "sampler")), run_id(config)
        )
    )
