"""The shared parts of a picture: panels, looks, legend, caption and title."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hapens_bench.analysis.figures.lines import PLACE
from hapens_bench.analysis.figures.style import line

rcParams["font.size"] = 8

Place = tuple[str, ...]  # data set, model, protocol
Looks = Mapping[tuple[str, str], Mapping[str, Any]]  # of a sampler and a setting


def row_of_panels(n: int, width: float, height: float, more: float = 0.0) -> tuple[Figure, Any]:
    """Lay out n panels of `width` x `height` inches in a row, with `more` room beside them."""
    figure = Figure(figsize=(width * n + more, height), layout="constrained")
    return figure, figure.subplots(1, n, squeeze=False)[0]


def make_panels(
    frame: pd.DataFrame, panels: Mapping[str, str]
) -> tuple[Figure, dict[tuple[Place, str], Axes]]:
    """Lay out a row for each panel and a column for each place.

    The panels of a single place are wrapped into up to three columns.
    """
    places, n = places_of(frame), len(panels)
    columns = len(places) if len(places) > 1 else next(c for c in (3, 2, 1) if n % c == 0)
    rows = n * len(places) // columns
    longest = max(len(label) for label in (name_of(*name) for name, _ in lines_of(frame)))
    size = (3.3 * columns + 0.7 + 0.065 * longest, 2.4 * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    axes = {}
    for k, (panel, label) in enumerate(panels.items()):
        for c, place in enumerate(places):
            axes[place, panel] = axis = grid.flat[k * len(places) + c]
            tidy(axis, title_of(frame, place) if k == 0 else "", label if c == 0 else "")
    return figure, axes


def looks_of(frame: pd.DataFrame) -> Looks:
    """Return how each line is drawn; settings of a sampler share its dash and have markers."""
    names = list(dict.fromkeys(name for name, _ in lines_of(frame)))
    settings: dict[str, list[str]] = {}
    for sampler, setting in names:
        settings.setdefault(sampler, []).append(setting)
    return {
        (sampler, setting): {
            **line(sampler, settings[sampler].index(setting), len(settings[sampler])),
            "label": name_of(sampler, setting),
        }
        for sampler, setting in names
    }


def name_of(sampler: str, setting: str) -> str:
    """Name a line by its sampler and setting."""
    return f"{sampler} {setting}".strip()


def rows_at(frame: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Return the rows of one place."""
    return frame[(frame[PLACE] == list(place)).all(axis=1)]


def lines_of(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the rows of each line, by its sampler and setting."""
    for name, rows in frame.groupby(["sampler", "setting"], sort=False):
        yield (str(name[0]), str(name[1])), rows


def places_of(frame: pd.DataFrame) -> list[Place]:
    """Return the places of a frame, in the order of its rows."""
    return list(frame[PLACE].drop_duplicates().itertuples(index=False, name=None))


def title_of(frame: pd.DataFrame, place: Sequence[str]) -> str:
    """Name a place by what differs between places; a single one is in the figure's title."""
    return " ".join(
        value for key, value in zip(PLACE, place, strict=True) if frame[key].nunique() > 1
    )


def tidy(axis: Axes, title: str, label: str) -> None:
    """Set an axis's title and label, and remove its upper and right spines."""
    axis.set_title(title, fontsize=9)
    axis.set_ylabel(label, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def finish(
    figure: Figure, axes: Mapping[Any, Axes], x: str, looks: Looks, caption: Sequence[str]
) -> None:
    """Add the legend beside the panels, the label of the horizontal axis, and the caption."""
    for axis in axes.values():
        place = axis.get_subplotspec()
        if place is not None and place.is_last_row():
            axis.set_xlabel(x)
    handles = [Line2D([], [], **{**look, "markevery": None}) for look in looks.values()]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, handlelength=3.2)
    add_caption(figure, caption)


def add_caption(figure: Figure, parts: Sequence[str]) -> None:
    """Write a caption under a figure."""
    text = textwrap.fill(
        "; ".join(text for text in parts if text), int(figure.get_figwidth() / 0.06)
    )
    figure.supxlabel(text, fontsize=7, x=0.01, ha="left")


def entitle(figure: Figure, title: str, frame: pd.DataFrame) -> None:
    """Write the title above a figure, with the data set if there is only one."""
    common = [str(frame["dataset"].iloc[0])] if frame["dataset"].nunique() == 1 else []
    figure.suptitle(": ".join([title, *common]), fontsize=10, x=0.01, ha="left")
