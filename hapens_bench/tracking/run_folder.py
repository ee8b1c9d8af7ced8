"""The files of one trial: the truth about it. A kill at any instant leaves each file old or new, never half."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hapens_bench.config import run_id
from hapens_bench.tracking.lock import RunBusy as RunBusy
from hapens_bench.tracking.lock import hold

LOG = logging.getLogger("hapens_bench.tracking")


SECTION = re.compile(r"^(?=\S)", re.MULTILINE)


HARDNESS = "hardness"  # the arrays of `training.user_hardness`


class DamagedRun(Exception):
    """A file of a run folder cannot be read; the message says which."""


class RunFolder:
    """The files of one run.

    `config.yaml status.json summary.json history.parquet users.parquet indicators.parquet hardness.npz checkpoint.pt pushed.json`
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run until the end of the block, or until this process dies, however it does (see `tracking.lock`).

        Half-written temporary files that a killed holder left are removed.

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
        """Read the text of the resolved config, a piece for each section.

        Raises:
            DamagedRun: when there is none, it cannot be read, or its end is missing.
        """
        try:
            text = (self.path / "config.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise DamagedRun(f"config.yaml cannot be read: {error}") from error
        if not text.endswith("\n"):
            raise DamagedRun("config.yaml cannot be read: its end is missing")
        return SECTION.split(text)

    def read_config(self) -> dict[str, Any]:
        """Read the resolved config.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        return parse_config(self.config_sections())

    def write_status(self, state: str, reason: str | None = None) -> None:
        """Write `running`, `done` or `failed`, with the reason of a failure."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write_json("status.json", {"state": state, "reason": reason, "time": now, "pid": os.getpid()})

    def read_status(self) -> dict[str, Any] | None:
        """Read the status; None where there is none.

        Raises:
            DamagedRun: when it cannot be read.
        """
        return self._read_json("status.json") if (self.path / "status.json").exists() else None

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the history, a row an epoch."""
        self._write_parquet("history.parquet", pd.DataFrame(list(rows)))

    def write_users(self, frame: pd.DataFrame) -> None:
        """Write the per-user metrics of each selection's reported epoch."""
        self._write_parquet("users.parquet", frame)

    def write_indicators(self, frame: pd.DataFrame) -> None:
        """Write what the sampler remembered of watched pairs, a row a pair."""
        self._write_parquet("indicators.parquet", frame)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what the run found."""
        self._write_json("summary.json", summary)

    def read_summary(self) -> dict[str, Any]:
        """Read what the run found.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        return self._read_json("summary.json")

    def read_frame(self, name: str) -> pd.DataFrame:
        """Read `history`, `users` or `indicators`.

        Raises:
            DamagedRun: when there is none or it cannot be read.
        """
        try:
            return pd.read_parquet(self.path / f"{name}.parquet")
        except Exception as error:
            raise DamagedRun(f"{name}.parquet cannot be read: {error}") from error

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays under a name."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._write(f"{name}.npz", buffer.getbuffer())

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read arrays by name.

        Raises:
            DamagedRun: when there are none or they cannot be read.
        """
        path = self.path / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:
            raise DamagedRun(f"{path} cannot be read: {error}") from error

    def write_pushed(self, pushed: Mapping[str, Any]) -> None:
        """Write what `hapens push` has told to which tracker."""
        self._write_json("pushed.json", pushed)

    def read_pushed(self) -> dict[str, Any]:
        """Read what was told to which tracker; nothing where there is no record of it.

        Raises:
            DamagedRun: when it cannot be read.
        """
        return self._read_json("pushed.json") if (self.path / "pushed.json").exists() else {}

    def is_done(self) -> bool:
        """Tell whether the run is finished and its summary readable."""
        try:
            status = self.read_status()
            return status is not None and status.get("state") == "done" and bool(self.read_summary())
        except DamagedRun:
            return False

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write what a resume needs: tensors and plain values only."""
        self._write(
            "checkpoint.pt", lambda file: torch.save(dict(state), file)
        )  # gigabytes, where a sampler remembers pairs

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the checkpoint; one that cannot be read is put aside with a warning and counts as none."""
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            if not isinstance(state, dict):
                raise DamagedRun("it holds no dictionary")
            return state
        except Exception as error:
            LOG.warning("%s cannot be read (%s); it is put aside and the run starts again", path, error)
            os.replace(path, self.path / "checkpoint.corrupt")
            return None

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, where there is one."""
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def _write_parquet(self, name: str, frame: pd.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        self._write(name, buffer.getbuffer())

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        self._write(name, (json.dumps(_strict(value), indent=1, allow_nan=False) + "\n").encode())

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedRun(f"{name} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise DamagedRun(f"{name} holds no object")
        return value

    def _write(self, name: str, content: bytes | memoryview | Callable[[BinaryIO], object]) -> None:
        """Write under a temporary name, make it durable, then rename."""
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                content(file) if callable(content) else file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path / name)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _strict(value: Any) -> Any:
    """Turn numpy scalars into plain values, and replace numbers that JSON does not know (nan, inf) by null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def parse_config(sections: Sequence[str]) -> dict[str, Any]:
    """Read a config from the text of its sections; they are shared by all runs that have them, so look, do not change.

    Thousands of runs have few different sections, and each is parsed once.

    Raises:
        DamagedRun: when it is not YAML, or no mapping.
    """
    return {key: value for section in sections for key, value in _parse(section).items()}


@cache
def _parse(section: str) -> dict[str, Any]:
    try:
        found = OmegaConf.to_container(OmegaConf.load(io.StringIO(section)))
    except Exception as error:  # whatever a cut-off or foreign file brings about
        raise DamagedRun(f"config.yaml cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise DamagedRun("config.yaml holds no mapping")
    return {str(key): value for key, value in found.items()}


def run_folder(config: Mapping[str, Any]) -> RunFolder:
    """Give the folder of a config's run, runs/<dataset>/<model>/<sampler>/<run_id>."""
    path = Path(config["paths"]["runs"]).expanduser()
    return RunFolder(path.joinpath(*(config[part]["name"] for part in ("dataset", "model", "sampler")), run_id(config)))
