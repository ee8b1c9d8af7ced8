"""Parsed splits on disk: read when they are whole, written under a temporary name and renamed."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.data.interactions import Ids, Split
from hapens_bench.data.parsing import DAMAGED

LOG = logging.getLogger("hapens_bench.data")


def read_cache(path: Path, name: str) -> Split | None:
    """Return a parsed split, or None where there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            n_users, n_items = (int(n) for n in arrays["shape"])
            split = Split(
                name, n_users, n_items, *(arrays[key] for key in ("train", "valid", "test"))
            )
            if "negatives" in arrays:
                split = replace(split, negatives=arrays["negatives"])
            split = replace(
                split, user_ids=_ids(arrays, "user_ids"), item_ids=_ids(arrays, "item_ids")
            )
            if str(arrays["data_hash"]) != split.data_hash:
                raise ValueError("its hash is wrong")
    except DAMAGED as error:
        LOG.warning("%s is damaged (%s); it is made again", path, error)
        return None
    LOG.info("read %s from the cache", name)
    return split


def _ids(arrays: Mapping[str, Any], key: str) -> Ids | None:
    return np.array(json.loads(arrays[key].tobytes()), dtype=object) if key in arrays else None


def write_cache(path: Path, split: Split) -> None:
    """Write a parsed split; a failure costs a warning only."""
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    arrays: dict[str, Any] = {key: getattr(split, key) for key in ("train", "valid", "test")}
    if split.negatives is not None:
        arrays["negatives"] = split.negatives
    for key in ("user_ids", "item_ids"):
        if (ids := getattr(split, key)) is not None:
            arrays[key] = np.frombuffer(json.dumps(ids.tolist()).encode(), dtype=np.uint8)
    try:
        with open(temporary, "wb") as file:
            np.savez(
                file,
                shape=np.array([split.n_users, split.n_items]),
                data_hash=np.array(split.data_hash),
                **arrays,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        LOG.warning("%s cannot be written (%s); the next start parses again", path, error)
    finally:
        temporary.unlink(missing_ok=True)
