"""Pictures from run folders: curves over epochs, grids of two keys, bars, budget curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from hapens_bench.analysis.experiments import Planned, planned
from hapens_bench.analysis.provenance import provenance
from hapens_bench.analysis.style import line
from hapens_bench.config import conf_dir
from hapens_bench.errors import UserError

rcParams["svg.hashsalt"] = "hapens_bench"  # the same numbers draw the same file


def read_definition(name: str) -> dict[str, Any]:
    """Read conf/figure/<name>.yaml.

    Raises:
        UserError: when there is no such figure.
    """
    path = conf_dir() / "figure" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"there is no figure {name!r}; choose one of {known}")
    definition = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(definition, dict)
    return {str(k): v for k, v in definition.items()}


def curves(definition: Mapping[str, Any], trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate the panels' columns over epochs: dataset, sampler, epoch, panel, and mean, low and high over seeds."""
    parts = []
    for one in trials:
        history = one.job.folder.read_frame("history")
        history = history[history["stage"] == definition["stage"]]
        for panel in definition["panels"]:
            rows = history[["epoch", panel]].dropna().rename(columns={panel: "value"})
            parts.append(rows.assign(dataset=one.params["dataset"], sampler=one.params["sampler"], panel=panel))
    keys = ["dataset", "sampler", "panel", "epoch"]
    found = pd.concat(parts).groupby(keys, sort=False)["value"]
    return found.agg(mean="mean", low="min", high="max", n="size").reset_index()


def grid(definition: Mapping[str, Any], trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate a test metric over two keys: dataset, sampler, x, y, and its mean over seeds."""
    rows = []
    for one in trials:
        test = one.job.folder.read_summary()["selection"][definition["selection"]]["test"]
        rows.append(
            {
                "dataset": one.params["dataset"],
                "sampler": one.params["sampler"],
                "x": float(one.params[definition["x"]]),
                "y": float(one.params[definition["y"]]),
                "value": 100 * test[definition["metric"]],
            }
        )
    return pd.DataFrame(rows).groupby(["dataset", "sampler", "x", "y"], sort=False)["value"].mean().reset_index()


def bars(definition: Mapping[str, Any], trials: Sequence[Planned]) -> pd.DataFrame:
    """Tabulate the median seconds of an epoch without evaluation: dataset, sampler, seconds, and the ratio to the base sampler."""
    rows = []
    for one in trials:
        history = one.job.folder.read_frame("history")
        shared = history["pack_size"].max()
        if shared > 1:
            raise UserError(
                f"{one.job.folder.path} was trained in a pack of {shared}, so its epochs cannot be timed; see the experiment's file"
            )
        seconds = history.loc[~history["evaluated"].astype(bool), "seconds"].median()
        rows.append({"dataset": one.params["dataset"], "sampler": one.params["sampler"], "seconds": seconds})
    found = pd.DataFrame(rows).groupby(["dataset", "sampler"], sort=False)["seconds"].median().reset_index()
    base = found[found["sampler"] == definition["base"]].set_index("dataset")["seconds"]
    return found.assign(ratio=found["seconds"] / found["dataset"].map(base))


def draw_curves(definition: Mapping[str, Any], frame: pd.DataFrame) -> Figure:
    """Draw a row of panels for each column, a column for each data set; the band is the range over seeds."""
    datasets, panels = list(frame["dataset"].unique()), list(definition["panels"].items())
    figure = Figure(figsize=(3.4 * len(datasets) + 0.8, 2.4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), len(datasets), squeeze=False, sharex=True)
    for (panel, label), row in zip(panels, axes, strict=True):
        for dataset, axis in zip(datasets, row, strict=True):
            part = frame[(frame["panel"] == panel) & (frame["dataset"] == dataset)]
            for sampler, rows in part.groupby("sampler", sort=False):
                axis.plot(rows["epoch"], rows["mean"], label=sampler, **line(str(sampler)))
                axis.fill_between(
                    rows["epoch"], rows["low"], rows["high"], color=line(str(sampler))["color"], alpha=0.15, lw=0
                )
            settled = part.loc[part["epoch"] >= definition.get("from_epoch", 0), "mean"]
            margin = 0.05 * (settled.max() - settled.min() or 1.0)
            axis.set_ylim(settled.min() - margin, settled.max() + margin)
            _tidy(axis, dataset if row is axes[0] else "", label if axis is row[0] else "")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    axes[0][-1].legend(fontsize=8, frameon=False)
    return figure


def draw_grid(definition: Mapping[str, Any], frame: pd.DataFrame) -> Figure:
    """Draw a heat map for each data set, its values written in."""
    datasets = list(frame["dataset"].unique())
    figure = Figure(figsize=(4.2 * len(datasets) + 0.4, 3.8), layout="constrained")
    for dataset, axis in zip(datasets, figure.subplots(1, len(datasets), squeeze=False)[0], strict=True):
        table = frame[frame["dataset"] == dataset].pivot(index="y", columns="x", values="value")
        axis.imshow(table.to_numpy(), origin="lower", cmap="cividis", aspect="auto")
        middle = (table.to_numpy().min() + table.to_numpy().max()) / 2
        for (r, c), value in np.ndenumerate(table.to_numpy()):
            axis.text(
                c, r, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value < middle else "black"
            )
        axis.set_xticks(range(len(table.columns)), [f"{x:g}" for x in table.columns])
        axis.set_yticks(range(len(table.index)), [f"{y:g}" for y in table.index])
        _tidy(axis, f"{dataset}: {definition['metric']} in percent", definition["y"].split(".")[-1])
        axis.set_xlabel(definition["x"].split(".")[-1])
    return figure


def draw_bars(definition: Mapping[str, Any], frame: pd.DataFrame) -> Figure:
    """Draw the ratios as bars, a panel for each data set."""
    datasets = list(frame["dataset"].unique())
    figure = Figure(figsize=(3.6 * len(datasets) + 0.4, 2.8), layout="constrained")
    for dataset, axis in zip(datasets, figure.subplots(1, len(datasets), squeeze=False)[0], strict=True):
        part = frame[frame["dataset"] == dataset]
        axis.barh(part["sampler"], part["ratio"], color=[line(s)["color"] for s in part["sampler"]])
        for place, value in enumerate(part["ratio"]):
            axis.text(value, place, f" {value:.1f}", va="center", fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        _tidy(axis, dataset, "")
        axis.set_xlabel(f"time of an epoch, times {definition['base']}")
    return figure


def draw_budget_curves(frame: pd.DataFrame, monitor: str) -> Figure:
    """Draw what the best of n trials is worth, a panel for each data set; the band is from the 10% to the 90% quantile."""
    datasets = list(frame["dataset"].unique())
    figure = Figure(figsize=(4.2 * len(datasets) + 0.6, 3.2), layout="constrained")
    for dataset, axis in zip(datasets, figure.subplots(1, len(datasets), squeeze=False)[0], strict=True):
        for sampler, rows in frame[frame["dataset"] == dataset].groupby("sampler", sort=False):
            axis.plot(rows["n"], 100 * rows["expected"], label=sampler, **line(str(sampler)))
            axis.fill_between(
                rows["n"], 100 * rows["low"], 100 * rows["high"], color=line(str(sampler))["color"], alpha=0.08, lw=0
            )
        _tidy(axis, dataset, f"best validation {monitor}, percent" if dataset == datasets[0] else "")
        axis.set_xlabel("trials")
    axis.legend(fontsize=8, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG and PNG, the same bytes for the same numbers."""
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=130)


KINDS: dict[str, tuple[Callable[..., pd.DataFrame], Callable[..., Figure]]] = {
    "curves": (curves, draw_curves),
    "grid": (grid, draw_grid),
    "bars": (bars, draw_bars),
}


def write_figure(name: str, runs: Path, out: Path) -> tuple[pd.DataFrame, list[str]]:
    """Write <out>/<name>.svg, .png, .csv and .provenance.json; give the data and the commands of trials not run yet.

    Raises:
        UserError: when none of its trials has been run.
    """
    definition = read_definition(name)
    tabulate, draw = KINDS[definition["kind"]]
    trials = planned(definition["experiment"], runs)
    done = [one for one in trials if one.job.folder.is_done()]
    if not done:
        raise UserError(f"none of the trials of figure {name!r} has been run; run them: {trials[0].job.command}, ...")
    origin = json.dumps(provenance([one.job.folder.read_summary() for one in done]), indent=1) + "\n"
    frame = tabulate(definition, done)
    figure = draw(definition, frame)
    figure.suptitle(definition["title"], fontsize=10)
    out.mkdir(parents=True, exist_ok=True)
    save(figure, out / name)
    frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    (out / f"{name}.provenance.json").write_text(origin, encoding="utf-8")
    return frame, [one.job.command for one in trials if not one.job.folder.is_done()]


def _tidy(axis: Axes, title: str, label: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_ylabel(label, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
