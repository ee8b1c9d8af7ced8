"""The files of a user's own data set, which are identified by their content, not by their place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

PARTS = ("path", "train", "valid", "test")  # keys of such a data set that name files


def is_own(dataset: Mapping[str, Any]) -> bool:
    """Return whether a data set is read from files that its keys name."""
    return "path" in dataset


def files_of(dataset: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the files that each key names, for the keys that name any."""
    named = {part: dataset.get(part) for part in PARTS}
    return {
        part: [str(path) for path in (value if isinstance(value, list) else [value])]
        for part, value in named.items()
        if value
    }


def with_content(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return an own data set with absolute paths and the SHA-256 of its files as `sha256`.

    A checksum that is there stays; that of a file which cannot be read is null.
    """
    files = {part: [_absolute(path) for path in paths] for part, paths in files_of(dataset).items()}
    paths = {part: files[part] if len(files[part]) > 1 else files[part][0] for part in files}
    sha256 = dataset.get("sha256") or {
        part: [digest(path) for path in named] for part, named in files.items()
    }
    return {**dataset, **paths, "sha256": sha256 or None}


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # ~nobody
        return path


def digest(path: str) -> str | None:
    """Return the SHA-256 of a file, or None where it cannot be read."""
    try:
        state = Path(path).stat()
        return _digest(path, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _digest(path: str, size: int, mtime: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
