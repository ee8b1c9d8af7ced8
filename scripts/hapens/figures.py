"""The six experiments that tell the readings of HAPENS apart: a table and a picture each.

    python scripts/hapens/figures.py oracle|shuffle|tail|readings|noise|confounders
        [--runs runs] [--out out/figures]

They are made from finished runs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from frames import compared, confounders, noise, oracle, split_by, tail
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hapens_bench.analysis.figures.layout import row_of_panels
from hapens_bench.analysis.result import picture, write_result
from hapens_bench.launch.experiments import planned
from hapens_bench.launch.job import Job


def draw_oracle(frame: pd.DataFrame) -> Figure:
    figure, panels = by_panel(frame)
    for axis, here in panels:
        here = here[here["what"].str.startswith("decile")]
        draw_intervals(axis, here["h"], here, fmt="o-", capsize=2)
        axis.set(xlabel="h_u, mean of a decile of users", ylabel="log2 of the best M")
    return figure


def draw_compared(frame: pd.DataFrame, key: str) -> Figure:
    figure, panels = by_panel(frame)
    for axis, here in panels:
        axis.errorbar(here[key], here["mean"], yerr=here["std"], fmt="o", color="black", capsize=3)
        axis.set(xlabel=key, ylabel=f"{here['metric'].iloc[0]}, percent (std over seeds)")
    return figure


def draw_tail(frame: pd.DataFrame) -> Figure:
    figure, panels = by_panel(frame)
    for axis, here in panels:
        here = here.query("statistic == 'min'")
        draw_intervals(axis, here["over users"], here)
        axis.axhline(0, color="grey", lw=0.8)
        axis.set(ylabel="min q: worst case less BPR")
        axis.tick_params(axis="x", rotation=45)
    return figure


def draw_noise(frame: pd.DataFrame) -> Figure:
    figure, panels = by_panel(frame)
    for axis, here in panels:
        draw_intervals(axis, here["what"] + "\n" + here["users"], here)
        axis.axhline(0, color="grey", lw=0.8)
        axis.set(ylabel="with noise less without")
    return figure


def draw_confounders(frame: pd.DataFrame) -> Figure:
    figure, panels = by_panel(frame)
    for axis, here in panels:
        for mark, (what, rows) in zip("osD", here.groupby("what"), strict=True):
            axis.plot(
                rows["statistic"], rows["value"], mark, color="black", fillstyle="none", label=what
            )
        axis.axhline(0, color="grey", lw=0.8)
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=7,
    )
    return figure


def by_panel(frame: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Lay out a panel for each data set; return the figure, and each panel with its rows."""
    parts = list(frame.groupby("dataset"))
    figure, axes = row_of_panels(len(parts), 4.2, 3.4)
    for axis, (dataset, _) in zip(axes, parts, strict=True):
        axis.set_title(str(dataset), fontsize=9)
    return figure, [(axis, rows) for axis, (_, rows) in zip(axes, parts, strict=True)]


def draw_intervals(
    axis: Axes, x: pd.Series, rows: pd.DataFrame, fmt: str = "o", capsize: int = 3
) -> None:
    """Draw values with their intervals, from the columns value, low and high."""
    reach = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    axis.errorbar(x, rows["value"], yerr=reach, fmt=fmt, color="black", capsize=capsize)


EXPERIMENTS: dict[
    str, tuple[Callable[[list[Job]], pd.DataFrame], Callable[[pd.DataFrame], Figure]]
] = {
    "oracle": (oracle, draw_oracle),
    "shuffle": (
        lambda jobs: compared(jobs, "shuffle"),
        lambda frame: draw_compared(frame, "shuffle"),
    ),
    "tail": (tail, draw_tail),
    "readings": (
        lambda jobs: compared(jobs, "reading"),
        lambda frame: draw_compared(frame, "reading"),
    ),
    "noise": (noise, draw_noise),
    "confounders": (confounders, draw_confounders),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("out/figures"))
    asked = parser.parse_args()
    jobs = [trial.job for trial in planned(f"hapens_{asked.experiment}", asked.runs)]
    parts = split_by(
        jobs, lambda job: f"{job.config['dataset']['name']}, seed {job.config['seed']}"
    )
    finished = {name: [job.is_done() for job in group] for name, group in parts.items()}
    done = {name: group for name, group in parts.items() if all(finished[name])}
    for name, states in finished.items():
        if any(states) and name not in done:
            missing = states.count(False)
            print(f"{name} is left out: {missing} of its {len(states)} runs are not done")
    if not done:
        parser.exit(
            2, f"no seed is done: hapens train -m experiment=hapens_{asked.experiment} first\n"
        )
    used = [job for group in done.values() for job in group]
    tabulate, draw = EXPERIMENTS[asked.experiment]
    frame = tabulate(used)
    figure = draw(frame)
    figure.suptitle(f"HAPENS (our reading): {asked.experiment}", fontsize=10)
    contents = {".csv": frame.to_csv(index=False), **picture(figure)}
    summaries = [job.folder.read_summary() for job in used]
    write_result(asked.out / f"hapens_{asked.experiment}", summaries, contents)
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
