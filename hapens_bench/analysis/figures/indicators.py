"""What samplers remember of user-item pairs with known relevance.

Where false negatives lie, and how well an indicator tells them from true ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from hapens_bench.analysis.figures.layout import add_caption, name_of, tidy
from hapens_bench.analysis.figures.lines import KEYS, Definition, Line
from hapens_bench.errors import UserError
from hapens_bench.training.known_pairs import KINDS

BINS = 40  # of [0, 1]
COLOURS = {"negative": "#0072B2", "relabelled": "#D55E00", "relevant": "#009E73"}


def indicators(definition: Definition, lines: Sequence[Line]) -> tuple[pd.DataFrame, list[str]]:
    """Tabulate each indicator's density by kind of pair, and its AUC, over the visited pairs.

    A pair was visited if H or G is not 1. Columns: panel, kind, x (the middle of a bin), density,
    share (of the kind's pairs that were visited), auc with its 95% interval low and high (missing
    for true negatives), users, n (seeds).

    Raises:
        UserError: when a run has no pairs of known relevance, or none was visited.
    """
    edges = np.linspace(0, 1, BINS + 1)
    rows = []
    for line in lines:
        parts = [run.indicators.assign(run=k) for k, run in enumerate(line.runs)]
        pairs = pd.concat(parts, ignore_index=True)
        seen = pairs[(pairs[list(definition["panels"])] != 1).any(axis=1)]
        if seen.empty:
            raise UserError(
                f"{line.runs[0].folder.path}: none of its pairs whose truth is known was visited"
            )
        for panel in definition["panels"]:
            for k, kind in enumerate(KINDS):
                values = seen.loc[seen["kind"] == k, panel]
                if values.empty:
                    continue
                row: dict[str, Any] = {
                    **line.columns,
                    "panel": panel,
                    "kind": kind,
                    "n": len(parts),
                }
                row |= {"share": len(values) / (pairs["kind"] == k).sum()}
                row |= told_apart(seen, panel, k) if k else {}
                density, _ = np.histogram(values.clip(0, 1), edges, density=True)
                rows += [
                    {**row, "x": x, "density": d}
                    for x, d in zip((edges[1:] + edges[:-1]) / 2, density, strict=True)
                ]
    columns = [*KEYS, "panel", "kind", "x", "density", "share", "auc", "low", "high", "users", "n"]
    return pd.DataFrame(rows).reindex(columns=columns), []


def told_apart(frame: pd.DataFrame, panel: str, kind: int) -> dict[str, float]:
    """Return the AUC of an indicator and its 95% interval.

    The AUC of a user is P(the indicator is higher for a false negative than for a true one), ties
    counting half. It is averaged over seeds, then over users; the t interval is over users,
    because the pairs of a user are not independent.

    Shape:
        frame: a row a pair, with user, run, kind (0 for true negatives) and the indicator.
    """
    keys = ["run", "user"]
    false, true = (frame.loc[frame["kind"] == k, [*keys, panel]] for k in (kind, 0))
    both = false.merge(true, on=keys, suffixes=("_false", "_true"))
    difference = both[f"{panel}_false"] - both[f"{panel}_true"]
    wins = (difference > 0) + 0.5 * (difference == 0)
    each = wins.groupby([both[key] for key in keys]).mean().groupby("user").mean()
    n, mean = len(each), float(each.mean())
    half = (
        float(stats.t.ppf(0.975, n - 1) * each.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    )
    return {"auc": mean, "low": mean - half, "high": mean + half, "users": n}


def draw_indicators(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw a row for each data set and setting, a column for each indicator, a line per kind."""
    settings = list(frame.groupby(KEYS, sort=False))
    figure = Figure(
        figsize=(4.2 * len(definition["panels"]), 2.6 * len(settings) + 0.7), layout="constrained"
    )
    axes = figure.subplots(len(settings), len(definition["panels"]), squeeze=False)
    for (key, part), row in zip(settings, axes, strict=True):
        dataset, *_, sampler, setting = map(str, key)
        for (panel, label), axis in zip(definition["panels"].items(), row, strict=True):
            scores = []
            for kind, rows in part[part["panel"] == panel].groupby("kind", sort=False):
                axis.plot(
                    rows["x"],
                    rows["density"],
                    drawstyle="steps-mid",
                    color=COLOURS[str(kind)],
                    label=str(kind),
                )
                first = rows.iloc[0]
                if kind != "negative":
                    scores.append(
                        f"{kind}: AUC {first['auc']:.3f} [{first['low']:.3f}, {first['high']:.3f}]"
                    )
            tidy(axis, f"{dataset} {name_of(sampler, setting)}\n" + "\n".join(scores), "density")
            axis.set_xlabel(label)
            axis.set_ylim(bottom=0)
    handles, labels = max(
        (axis.get_legend_handles_labels() for axis in axes.flat),
        key=lambda entries: len(entries[0]),
    )
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    n = frame["n"].max()
    what = (
        "visited pairs at the end of the training; "
        "AUC: a false negative against a true one of the same user"
    )
    add_caption(figure, [what, "one seed" if n == 1 else f"{n} seeds together"])
    return figure
