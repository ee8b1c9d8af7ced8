"""What a result leaves behind: frames, texts and pictures, and beside them where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from hapens_bench.runs.provenance import provenance

if TYPE_CHECKING:  # a table needs no matplotlib
    from matplotlib.figure import Figure

Content: TypeAlias = "str | pd.DataFrame | Figure"
# How a picture is saved, by ending.
PICTURE: dict[str, dict[str, Any]] = {".svg": {"metadata": {"Date": None}}, ".png": {"dpi": 130}}


def write_result(
    stem: Path, used: Sequence[Mapping[str, Any]], contents: Mapping[str, Content]
) -> None:
    """Write each content to <stem><ending>, and its origin to <stem>.provenance.json.

    A text is written as it is, a frame as CSV with six significant digits, and a figure in the
    format that its ending names (see `picture`). `used` are the summaries of the runs behind the
    result. The provenance is worked out first, because writing may make the checkout dirty.
    """
    origin = provenance(used, [f"{stem.name}{ending}" for ending in contents])
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending, content in contents.items():
        _write(content, f"{stem}{ending}")
    _write(origin, f"{stem}.provenance.json")


def picture(figure: Figure, name: str = "") -> dict[str, Figure]:
    """Return the contents that write a figure as SVG and as PNG."""
    return {f"{name}{ending}": figure for ending in PICTURE}


def _write(content: Content, path: str) -> None:
    if isinstance(content, str):
        Path(path).write_text(content, encoding="utf-8")
    elif isinstance(content, pd.DataFrame):
        content.to_csv(path, index=False, float_format="%.6g")
    else:
        from matplotlib import rc_context

        with rc_context({"svg.hashsalt": "hapens_bench"}):  # the same numbers give the same bytes
            content.savefig(path, **PICTURE[Path(path).suffix])
