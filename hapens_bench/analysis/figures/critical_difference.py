"""The critical-difference diagram: mean ranks of samplers, and which cannot be told apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hapens_bench.analysis.figures.lines import Definition, Line
from hapens_bench.analysis.figures.style import colour
from hapens_bench.analysis.statistics import Ranks, friedman
from hapens_bench.errors import UserError
from hapens_bench.metrics import less_is_better


def ranks(definition: Definition, lines: Sequence[Line]) -> tuple[pd.DataFrame, list[str]]:
    """Tabulate each sampler's mean rank over data sets, with Friedman's p and Nemenyi's CD.

    The same data set with another model or protocol counts as another data set.

    Raises:
        UserError: when a sampler has several settings on a data set, or fewer than two samplers
            have been run on all of them.
    """
    selection, metric, scores = definition["selection"], definition["metric"], {}
    for line in lines:
        values = [run.summary["selection"][selection]["test"].get(metric) for run in line.runs]
        reported = [value for value in values if value is not None]
        if (line.place, line.sampler) in scores:
            raise UserError(
                f"{line.sampler} has several settings on {line.place[0]}; choose one with --where"
            )
        if reported:
            scores[line.place, line.sampler] = sum(reported) / len(reported)
    table = pd.Series(scores, dtype=float).unstack() if scores else pd.DataFrame()
    whole = table.dropna(axis=1)
    if whole.shape[1] < 2:
        raise UserError(
            f"fewer than two samplers report {selection} {metric} on all {len(table)} data sets"
        )
    result = friedman(-whole if less_is_better(metric) else whole)
    notes = [
        f"{name} was not run on all {len(table)} data sets and is left out"
        for name in table
        if name not in whole
    ]
    frame = pd.DataFrame(
        {
            "dataset": f"{len(whole)} data sets",
            "sampler": result.mean.index,
            "rank": result.mean,
        }
    )
    test: dict[str, Any] = {
        "sets": result.n,
        "p": result.p,
        "critical": result.critical,
        "words": result.words,
    }
    return frame.assign(**test).reset_index(drop=True), notes


def draw_ranks(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw ranks on a line, 1 at the left; bars join samplers within the critical difference."""
    first = frame.iloc[0]
    result = Ranks(
        frame.set_index("sampler")["rank"],
        int(first["sets"]),
        first["p"],
        first["critical"],
        first["words"],
    )
    k, half = len(frame), (len(frame) + 1) // 2
    groups = result.cliques()
    figure = Figure(figsize=(6.5, 1.6 + 0.22 * half + 0.12 * len(groups)), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(1 - 0.5, k + 0.5)
    depth = 0.5 + 0.3 * len(groups)
    axis.set_ylim(-depth - half, 1.8)
    axis.hlines(0, 1, k, color="black", lw=1)
    for rank in range(1, k + 1):
        axis.vlines(rank, 0, 0.15, color="black", lw=1)
        axis.text(rank, 0.25, str(rank), ha="center")
    for place, (name, rank) in enumerate(result.mean.items()):
        left = place < half
        level = -depth - (place if left else k - 1 - place)
        end = 0.8 if left else k + 0.2
        axis.plot([rank, rank, end], [0, level, level], color=colour(str(name)), lw=1.2)
        axis.text(end, level, f" {name} {rank:.2f} ", ha="right" if left else "left", va="center")
    for row, group in enumerate(groups):
        ends = [result.mean[group[0]] - 0.04, result.mean[group[-1]] + 0.04]
        axis.plot(ends, [-0.3 - 0.3 * row] * 2, color="black", lw=3, solid_capstyle="butt")
    if result.critical == result.critical:  # not nan
        axis.plot([1, 1 + result.critical], [1.2, 1.2], color="black", lw=1.5)
        axis.text(1, 1.35, f"critical difference {result.critical:.2f}")
    axis.axis("off")
    test = (
        ""
        if result.p != result.p
        else f"Friedman p = {result.p:.3g}; bars join what Nemenyi's test cannot tell apart at 5%"
    )
    caption = "; ".join(text for text in (test, result.words) if text)
    figure.supxlabel(textwrap.fill(caption, 105), fontsize=7)
    return figure
