"""Pictures of the frames of `frames`: a sampler looks the same in all, nothing hides the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hapens_bench.analysis.figures.layout import (
    add_caption,
    finish,
    lines_of,
    looks_of,
    make_panels,
    name_of,
    places_of,
    row_of_panels,
    rows_at,
    tidy,
    title_of,
)
from hapens_bench.analysis.figures.lines import KEYS, PLACE, Definition
from hapens_bench.analysis.figures.style import colour

FAR = 0.5  # beyond the settled range, as a share of it
STAGES = {
    "held": "trained without the validation part",
    "full": "trained on all of train",
    None: "",
}
SELECTIONS = {
    "test_peak": "epoch with the best test value",
    "valid": "epoch chosen on validation",
    "valid_refit": "epoch chosen on validation, then trained on all of train",
}


def draw_curves(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw a panel for each history column and place, over epochs."""
    panels = {
        name: label for name, label in definition["panels"].items() if name in set(frame["panel"])
    }
    figure, axes = make_panels(frame, panels)
    looks = looks_of(frame)
    for (place, panel), axis in axes.items():
        here = rows_at(frame, place)
        here = here[here["panel"] == panel]
        for name, rows in lines_of(here):
            axis.plot(rows["epoch"], rows["mean"], **looks[name])
            axis.fill_between(
                rows["epoch"],
                rows["low"],
                rows["high"],
                color=looks[name]["color"],
                alpha=0.15,
                lw=0,
            )
        if panel in definition.get("noisy", []):
            axis.set_ylim(_settled(here))
    band = "an epoch's negatives" if definition["band"] == "negatives" else "seeds"
    finish(figure, axes, "epoch", looks, [_seeds(frame, band), STAGES[definition.get("stage")]])
    return figure


def draw_phase(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw a path through the epochs for each line, a panel for each place."""
    measured_on = {"held": "validation", "full": "test"}[definition["stage"]]
    figure, axes = make_panels(frame, {"": f"{measured_on} {definition['metric']}, percent"})
    looks = looks_of(frame)
    for (place, _), axis in axes.items():
        for name, rows in lines_of(rows_at(frame, place)):
            axis.plot(rows["x"], rows["y"], **looks[name])
            mark = {"marker": looks[name].get("marker", "o"), "s": 40, "zorder": 3}
            axis.scatter(
                rows["x"].iloc[:1],
                rows["y"].iloc[:1],
                color="white",
                edgecolor=looks[name]["color"],
                **mark,
            )
            axis.scatter(
                rows["x"].iloc[-1:],
                rows["y"].iloc[-1:],
                color=looks[name]["color"],
                edgecolor="black",
                **mark,
            )
    ends = (
        f"white mark: epoch {frame['epoch'].min()}; "
        "mark with a black edge: the last epoch that all seeds reached"
    )
    finish(
        figure, axes, definition["label"], looks, [ends, _seeds(frame), STAGES[definition["stage"]]]
    )
    return figure


def draw_pool(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw metrics over the pool size; a sampler without a pool is a level line."""
    panels = {
        name: label for name, label in definition["panels"].items() if name in set(frame["panel"])
    }
    figure, axes = make_panels(frame, panels)
    sizes = sorted(frame["x"].dropna().unique())
    level = {name for name, rows in lines_of(frame) if rows["x"].isna().all()}
    dots = {"marker": "o", "markersize": 4.5}
    looks = {
        name: look if name in level else {**dots, **look, "markevery": 1}
        for name, look in looks_of(frame).items()
    }
    for (place, panel), axis in axes.items():
        here = rows_at(frame, place)
        for name, rows in lines_of(here[here["panel"] == panel]):
            if name in level:
                axis.axhline(rows["mean"].iloc[0], **looks[name])
                continue
            axis.plot(rows["x"], rows["mean"], **looks[name])
            axis.vlines(rows["x"], rows["low"], rows["high"], color=looks[name]["color"], lw=1)
            unsure = rows[~rows["converged"]]
            hollow = {**looks[name], "linestyle": "none", "markerfacecolor": "white"}
            axis.plot(unsure["x"], unsure["mean"], **hollow)
        if sizes and "x" not in definition:
            axis.set_xscale("log")
        if sizes:
            axis.xaxis.set_major_locator(FixedLocator(sizes))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter("{x:g}")
    keys = ", ".join(sorted(set(frame.loc[frame["x"].notna(), "key"])))
    without = "level: no pool" if level else ""
    late = (
        "" if frame["converged"].all() else "hollow: a best epoch was the last one (not converged)"
    )
    parts = [_seeds(frame, "seeds", "bar"), SELECTIONS[definition["selection"]], without, late]
    finish(figure, axes, keys if "x" in definition else f"pool size ({keys})", looks, parts)
    return figure


def draw_grid(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw a heat map for each line, with its values."""
    maps = list(frame.groupby(KEYS, sort=False))
    figure, axes = row_of_panels(len(maps), 4.2, 3.8, more=0.4)
    for (key, cells), axis in zip(maps, axes, strict=True):
        table, sure = (
            cells.pivot(index="y", columns="x", values=name) for name in ("value", "converged")
        )
        axis.imshow(table.to_numpy(), origin="lower", cmap="cividis", aspect="auto")
        middle = (cells["value"].min() + cells["value"].max()) / 2
        for (r, c), value in np.ndenumerate(table.to_numpy()):
            if not np.isnan(value):
                ink = "black" if value > middle else "white"
                text = f"{value:.2f}" + ("" if sure.iat[r, c] else " !")
                axis.text(c, r, text, ha="center", va="center", fontsize=7, color=ink)
        axis.set_xticks(range(len(table.columns)), [f"{x:g}" for x in table.columns])
        axis.set_yticks(range(len(table.index)), [f"{y:g}" for y in table.index])
        *place, sampler, setting = map(str, key)
        title = f"{title_of(frame, place)} {name_of(sampler, setting)}"
        tidy(axis, title, definition["y"].rpartition(".")[2])
        axis.set_xlabel(definition["x"].rpartition(".")[2])
    late = "" if frame["converged"].all() else "!: a best epoch was the last one (not converged)"
    add_caption(
        figure,
        [
            f"{definition['metric']} in percent, {_seeds(frame)}",
            SELECTIONS[definition["selection"]],
            late,
        ],
    )
    return figure


def draw_bars(definition: Definition, frame: pd.DataFrame) -> Figure:
    """Draw times as multiples of the base's, a panel for each place, with the band over epochs."""
    places = places_of(frame)
    tall = frame.groupby(PLACE).size().max()
    figure, axes = row_of_panels(len(places), 3.6, 0.24 * tall + 1.2, more=0.4)
    for place, axis in zip(places, axes, strict=True):
        rows = rows_at(frame, place)
        unit = rows["seconds"] / rows["ratio"]
        names = [name_of(*name) for name, _ in lines_of(rows)]
        axis.barh(
            names, rows["ratio"], color=[colour(sampler) for sampler in rows["sampler"]], height=0.7
        )
        axis.hlines(names, rows["low"] / unit, rows["high"] / unit, color="#999999", lw=1)
        for row, ratio in enumerate(rows["ratio"]):
            axis.text(1.02, row, f"{ratio:.1f}", va="center", transform=axis.get_yaxis_transform())
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        tidy(axis, title_of(frame, place), "")
        axis.set_xlabel(f"time of an epoch, times {definition['base']} ({unit.iloc[0]:.3g} s)")
    what = (
        "bar and number: median of the epochs without evaluation; line: their 10% to 90% quantile"
    )
    add_caption(figure, [what, STAGES[definition["stage"]]])
    return figure


def _settled(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the vertical range of a noisy column.

    It covers the bands of the second half of training, without outliers, and all values near it.
    """
    late = frame["epoch"] >= frame.groupby(["sampler", "setting"])["epoch"].transform("max") / 2
    low, high = frame.loc[late, "low"].quantile(0.02), frame.loc[late, "high"].quantile(0.98)
    reach = FAR * (high - low)
    values = frame[["mean", "low", "high"]].to_numpy()
    near = values[(values >= low - reach) & (values <= high + reach)]
    margin = 0.05 * (near.max() - near.min() or 1.0)
    return near.min() - margin, near.max() + margin


def _seeds(frame: pd.DataFrame, band: str = "", shown: str = "band") -> str:
    least, most = frame["n"].min(), frame["n"].max()
    text = (
        "one seed"
        if most == 1
        else f"mean over {least if least == most else f'{least} to {most}'} seeds"
    )
    return text + (
        f"; {shown}: 10% to 90% quantile over {band}"
        if band and (most > 1 or band != "seeds")
        else ""
    )
