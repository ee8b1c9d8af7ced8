"""Frames from Python: kept as a file in the cache, which `dataset=mine` reads."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from hapens_bench.config.quoting import hydra_value
from hapens_bench.data.exact import to_log
from hapens_bench.data.own.table import COLUMNS, joined
from hapens_bench.data.own.typed import SAMPLE, from_arrow, take
from hapens_bench.data.sources import cache_dir
from hapens_bench.errors import UserError


def keep_frame(
    frame: Any,
    name: str = "mine",
    columns: Mapping[str, str | int | None] | None = None,
    cache: Path | None = None,
) -> list[str]:
    """Keep a frame in the cache; return the overrides by which a command or config reads it.

    A frame is a pandas one, an arrow table, or what has `to_pandas`, such as a data set of Hugging
    Face or a polars frame. `columns` is as `dataset.columns`: what is not in it is guessed. The
    file is named after its content, so the same frame is kept once.

    Raises:
        UserError: when a column is missing, or holds values that are no ids, ratings or times.
    """
    table, taken = _taken(frame, {role: "auto" for role in COLUMNS} | dict(columns or {}))
    names = table.column_names
    to_log(*joined([from_arrow("the frame", table, names, taken, "frame")]))
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(), buffer)
    content = buffer.getvalue()
    folder = (cache or cache_dir()) / "frames"
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"the frame cannot be kept in {folder}: {error}") from None
    roles = {role: names[taken[role]] if role in taken else None for role in COLUMNS}
    return [
        "dataset=mine",
        f"dataset.name={hydra_value(name)}",
        f"dataset.path={hydra_value(path.absolute())}",
        *(f"dataset.columns.{role}={hydra_value(column)}" for role, column in roles.items()),
    ]


def _taken(frame: Any, columns: Mapping[str, Any]) -> tuple[pa.Table, dict[str, int]]:
    """Return the columns taken of a frame as an arrow table, and the place of each in it.

    Raises:
        UserError: when it is no frame, a column is missing, or one mixes kinds of values.
    """
    if not isinstance(frame, (pa.Table, pd.DataFrame)) and hasattr(frame, "to_pandas"):
        frame = frame.to_pandas()
    try:
        if isinstance(frame, pa.Table):
            rows = [list(row.values()) for row in frame.slice(0, SAMPLE).to_pylist()]
            taken = take("the frame", frame.column_names, rows, columns)
            table = frame.select(list(taken.values()))
        elif isinstance(frame, pd.DataFrame):
            rows = [list(row) for row in frame.head(SAMPLE).itertuples(index=False)]
            taken = take("the frame", [str(name) for name in frame.columns], rows, columns)
            chosen = frame.iloc[:, list(taken.values())]
            table = pa.Table.from_pandas(chosen, preserve_index=False)
        else:
            raise UserError(f"a frame is needed, or what has to_pandas, not {type(frame).__name__}")
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(map(str, error.args))[:200]
        raise UserError(
            f"the frame cannot be taken ({reason}): a column holds values of one kind, and "
            "numbers beyond 64 bits as text"
        ) from None
    return table, {role: at for at, role in enumerate(taken)}
