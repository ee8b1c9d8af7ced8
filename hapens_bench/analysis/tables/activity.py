"""Who gains and who loses: a table's method against the others, by the users' activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from hapens_bench.analysis.figures.layout import add_caption, row_of_panels, tidy
from hapens_bench.analysis.figures.style import line
from hapens_bench.analysis.replicates import common_seeds
from hapens_bench.analysis.result import picture, write_result
from hapens_bench.analysis.statistics import holm, over_users
from hapens_bench.analysis.tables.definition import Cell
from hapens_bench.config.compose import compose_config
from hapens_bench.errors import UserError
from hapens_bench.launch.job import load_split
from hapens_bench.metrics import is_overall


def deciles(values: np.ndarray) -> np.ndarray:
    """Number users from 1 (lowest value) to 10 by rank; equal values get their middle rank.

    Users with equal values share a decile, so deciles differ in size and some may be empty.

    Shape:
        values: [U]
        returns: [U], int
    """
    return (rankdata(values) * 10 // (len(values) + 1)).astype(int) + 1


def by_activity(definition: Mapping[str, Any], filled: Sequence[Cell]) -> pd.DataFrame:
    """Compare the method named by `compare` with those of `activity` in every decile of users.

    A table without `activity` compares it with all others. The selection is the honest one. Scores
    are in percent, each user's averaged over the common seeds. `items` counts the train items of
    the decile's users, validation part included; `gain` and `lose` are the percentages of users who
    are better and worse off with `compare`. low and high are a 95% t interval over users; p comes
    from the sign-flip permutation test, Holm-corrected over the deciles and methods of a data set
    and metric.
    """
    mine, selection, rows = definition["compare"], definition["honest_selection"], []
    run = {(cell.dataset, cell.sampler): cell for cell in filled if cell.runs}
    for dataset in definition["datasets"]:
        others = [
            name
            for name in definition.get("activity", definition["samplers"])
            if name != mine and (dataset, name) in run
        ]
        if (dataset, mine) not in run or not others:
            continue
        split = load_split(compose_config(run[dataset, mine].overrides))
        count = pd.Series(np.bincount(split.full_train[:, 0], minlength=split.n_users))
        for metric in filterfalse(is_overall, definition["metrics"]):
            deciles_of_metric = []
            for other in others:
                a, b = run[dataset, mine], run[dataset, other]
                seeds = common_seeds(a, b, selection, metric)
                if seeds:
                    key = {
                        "dataset": dataset,
                        "metric": metric,
                        "selection": selection,
                        "sampler": mine,
                    }
                    key |= {"against": other, "seeds": len(seeds)}
                    ours, theirs = (x.by_user(selection, metric, seeds) for x in (a, b))
                    deciles_of_metric += _by_decile(key, ours, theirs, count)
            corrected = holm([row["p"] for row in deciles_of_metric])
            for row, p in zip(deciles_of_metric, corrected, strict=True):
                rows.append(row | {"p": p})
    return pd.DataFrame(rows)


def _by_decile(
    key: dict[str, Any], a: pd.Series, b: pd.Series, count: pd.Series
) -> list[dict[str, Any]]:
    items = count.loc[a.index]
    rows = []
    for decile, users in items.groupby(deciles(items.to_numpy())):
        ours, theirs = a.loc[users.index], b.loc[users.index]
        test = over_users(ours, theirs)
        row = {
            **key,
            "decile": decile,
            "users": len(users),
            "items_low": users.min(),
            "items_high": users.max(),
        }
        row |= {"mean": ours.mean(), "against_mean": theirs.mean(), "difference": test.difference}
        row |= {"low": test.low, "high": test.high, "p": test.p}
        rows.append(
            row | {"gain": 100 * (ours > theirs).mean(), "lose": 100 * (ours < theirs).mean()}
        )
    return rows


def span(low: int, high: int) -> str:
    """Return the range of item counts in a decile as text."""
    return f"{low}–{high}" if low < high else str(low)


def draw_activity(frame: pd.DataFrame) -> Figure:
    """Draw one metric's differences over deciles: a panel per data set, a line per method."""
    datasets = list(frame["dataset"].unique())
    figure, axes = row_of_panels(len(datasets), 3.6, 3.2, more=0.6)
    for axis, dataset in zip(axes, datasets, strict=True):
        here = frame[frame["dataset"] == dataset]
        others = here.groupby("against", sort=False)
        for k, (other, rows) in enumerate(others):
            x = rows["decile"] + 0.12 * (k - (len(others) - 1) / 2)
            gaps = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
            axis.errorbar(
                x,
                rows["difference"],
                yerr=gaps,
                capsize=2,
                label=f"against {other}",
                **line(str(other)),
            )
        axis.axhline(0, color="grey", lw=0.8)
        shown = here.drop_duplicates("decile")
        axis.set_xticks(
            shown["decile"], list(map(span, shown["items_low"], shown["items_high"])), rotation=45
        )
        axis.set_xlabel("train items of a user (deciles)")
        tidy(
            axis,
            dataset,
            f"{here['sampler'].iloc[0]} less the other, {here['metric'].iloc[0]}, points",
        )
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=7)
    add_caption(
        figure,
        [
            "bars: 95% interval over the users of a decile, "
            "each the mean over the seeds that both have"
        ],
    )
    return figure


def write_activity(
    name: str, definition: Mapping[str, Any], filled: Sequence[Cell], out: Path
) -> pd.DataFrame:
    """Write <out>/<name>_activity.{csv,svg,png,provenance.json} and return the frame.

    The picture shows the table's first metric.

    Raises:
        UserError: when the table has no two methods to compare, or a data set is not available.
    """
    frame = by_activity(definition, filled)
    if frame.empty:
        raise UserError(
            f"table {name!r} has no finished runs of {definition['compare']} and another method "
            f"on one data set, with {definition['honest_selection']}, to compare"
        )
    compared = set(frame["dataset"])
    used = [run for cell in filled if cell.dataset in compared for run in cell.runs]
    figure = draw_activity(frame[frame["metric"] == definition["metrics"][0]])
    write_result(out / f"{name}_activity", used, {".csv": frame, **picture(figure)})
    return frame
