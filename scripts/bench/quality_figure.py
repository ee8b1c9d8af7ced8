"""The picture of `quality.py`: quality against seconds, a panel for each data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot, rcParams

rcParams["svg.hashsalt"] = "hapens_bench"  # the same numbers draw the same file
LINES = {"sampler": "-", "fitted": "--", "rival": ":"}


def draw(rows: pd.DataFrame, curves: pd.DataFrame, machine: dict[str, Any], path: Path) -> None:
    """Draw each system's best quality so far, as a share of the goal, and write it as SVG."""
    rows = rows[rows["best"].notna()]
    names = list(dict.fromkeys(rows["system"]))
    colours = dict(zip(names, pyplot.get_cmap("tab20").colors, strict=False))  # type: ignore[attr-defined]
    datasets = list(dict.fromkeys(rows["dataset"]))
    figure, panels = pyplot.subplots(
        1, len(datasets), figsize=(4 * len(datasets) + 1.6, 3.6), sharey=True, squeeze=False
    )
    for panel, dataset in zip(panels[0], datasets, strict=True):
        for row in rows[rows["dataset"] == dataset].itertuples():
            at = (curves["dataset"] == dataset) & (curves["system"] == row.system)
            curve = curves[at]
            share = curve["quality"].cummax() / row.goal
            marker = "o" if len(curve) == 1 else None
            style = {"color": colours[row.system], "linestyle": LINES[row.kind], "marker": marker}
            panel.plot(curve["seconds"], share, label=row.system, linewidth=1.2, **style)
        panel.axhline(1, color="black", linewidth=0.5)
        panel.axhline(0.99, color="black", linewidth=0.5, linestyle=":")
        panel.set_xscale("log")
        panel.set_ylim(0.4, 1.8)
        panel.set_title(dataset, fontsize=9, loc="left")
        panel.set_xlabel("seconds of training", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("Recall@20, times converged RNS", fontsize=8)
    handles = {
        label: handle
        for panel in panels[0]
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="center right", fontsize=7, frameon=False)
    figure.text(0.01, 0.005, f"{machine['cpu']}, {machine['threads']} threads", fontsize=6)
    figure.tight_layout(rect=(0, 0.02, 1 - 1.6 / (4 * len(datasets) + 1.6), 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
