"""Files that are written whole or not at all, and verified when read."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd


class DamagedRun(Exception):
    """A file of a run folder cannot be read; the message says which."""


class Files:
    """The files of a folder. A kill at any instant leaves each file old or new, never half."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def _write_parquet(self, name: str, frame: pd.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        self._write(name, buffer.getbuffer())

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        self._write(name, (json.dumps(_strict(value), indent=1, allow_nan=False) + "\n").encode())

    def _checksums(self) -> Mapping[str, int]:
        """Return the known CRC-32 of files, by name."""
        return {}

    def _read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            DamagedRun: when there is none, or its content has changed.
        """
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise DamagedRun(f"{name} cannot be read: {error}") from error
        if self._checksums().get(name, written := zlib.crc32(content)) != written:
            raise DamagedRun(f"{name} is damaged: its checksum is wrong")
        return content

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._read(name))
        except ValueError as error:
            raise DamagedRun(f"{name} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise DamagedRun(f"{name} is not an object")
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
    """Return the value with plain scalars for numpy's, and None for nan and inf."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
