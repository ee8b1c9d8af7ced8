"""The picture of a benchmark run: one panel of bars for each section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot, rcParams

rcParams["svg.hashsalt"] = "hapens_bench"  # the same numbers draw the same file

TITLES = {
    "epoch": "training epoch: times ours",
    "pool": "candidates: times ours",
    "evaluation": "full ranking: times ours",
    "evaluation of 8": "full ranking of a pack of 8: times one by one",
    "step": "parts of an AHNS step",
    "sampler": "step of each sampler: times RNS",
    "pack": "a trial in a pack of T: times alone",
    "trials an hour": "trials an hour in packs of T: times one at a time",
    "growth": "step, each size against half of it",
    "precision": "by precision: times float32",
    "memory": "memory of evaluation, MiB",
}


def draw(frame: pd.DataFrame, machine: dict[str, Any], path: Path) -> None:
    """Draw the ratios of every section (the values of memory) and write them as SVG."""
    shown = frame[frame.get("value").notna()]
    sections = [name for name in TITLES if (shown["section"] == name).any()]
    heights = [max(2, len(_bars(shown, name))) for name in sections]
    figure, panels = pyplot.subplots(
        len(sections),
        1,
        figsize=(8, 0.24 * sum(heights) + 0.8 * len(sections)),
        height_ratios=heights,
        squeeze=False,
    )
    for panel, name in zip(panels[:, 0], sections, strict=True):
        bars = _bars(shown, name)
        column = "value" if name == "memory" else "ratio"
        panel.barh(bars["case"] + " · " + bars["way"], bars[column], color="#4477aa")
        for place, value in enumerate(bars[column]):
            panel.text(value, place, f" {value:.3g}", va="center", fontsize=7)
        if name in ("epoch", "pool", "evaluation"):
            panel.set_xscale("log")
        panel.set_title(TITLES[name], fontsize=9, loc="left")
        panel.tick_params(labelsize=7)
        panel.invert_yaxis()
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.12)
    figure.text(
        0.01,
        0.002,
        f"{machine['cpu']} / {machine['device']}, {machine['threads']} threads",
        fontsize=7,
    )
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    rows = frame[frame["section"] == name]
    return rows if name == "memory" else rows[rows["ratio"].notna()]
