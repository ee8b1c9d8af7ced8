"""The figures of conf/figure: what each is made of, and the files it writes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from hapens_bench.analysis.figures import critical_difference, drawing, frames, indicators, layout
from hapens_bench.analysis.figures.lines import Definition, lines
from hapens_bench.analysis.figures.of_table import Methods, by_method, from_table
from hapens_bench.analysis.query import Finished, Where, from_experiment, from_ledger
from hapens_bench.analysis.result import picture, write_result
from hapens_bench.config.paths import conf_file
from hapens_bench.errors import UserError

CHOICES = {"band": ("seeds", "negatives"), "stage": drawing.STAGES, "selection": drawing.SELECTIONS}


@dataclass(frozen=True)
class Kind:
    """A way to draw.

    `keys` and `optional` name the keys of its YAML, `most` bounds the lines of a panel, and
    `varied` names the config keys that a line runs over.
    """

    tabulate: Callable[..., frames.Found]
    draw: Callable[..., Figure]
    keys: frozenset[str]
    optional: frozenset[str] = frozenset()
    most: int = 10
    varied: Callable[[Definition, Finished], Collection[str]] = lambda definition, run: ()


KINDS = {
    "curves": Kind(
        frames.curves,
        drawing.draw_curves,
        frozenset({"panels", "band"}),
        frozenset({"stage", "noisy"}),
    ),
    "phase": Kind(frames.phase, drawing.draw_phase, frozenset({"stage", "x", "label", "metric"})),
    "bars": Kind(frames.bars, drawing.draw_bars, frozenset({"stage", "base"}), most=30),
    "grid": Kind(
        frames.grid,
        drawing.draw_grid,
        frozenset({"selection", "x", "y", "metric"}),
        most=4,
        varied=lambda definition, run: (definition["x"], definition["y"]),
    ),
    "pool": Kind(
        frames.pool,
        drawing.draw_pool,
        frozenset({"selection", "panels"}),
        frozenset({"x"}),
        varied=lambda definition, run: (frames.pool_key(definition, run),),
    ),
    "indicators": Kind(
        indicators.indicators, indicators.draw_indicators, frozenset({"panels"}), most=4
    ),
    "ranks": Kind(
        critical_difference.ranks,
        critical_difference.draw_ranks,
        frozenset({"selection", "metric"}),
        most=30,
    ),
}


def read_definition(name: str) -> dict[str, Any]:
    """Read conf/figure/<name>.yaml.

    Raises:
        UserError: when there is no such figure, or its keys are not those of its kind.
    """
    path = conf_file("figure", name)
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    definition = {str(key): value for key, value in content.items()}
    kind = KINDS.get(definition.get("kind", ""))
    if kind is None:
        raise UserError(
            f"{path}: kind is {definition.get('kind')!r}, but it takes one of {', '.join(KINDS)}"
        )
    needed = {"title", "kind", *kind.keys}
    optional = {"experiment", "table", "most", *kind.optional}
    if wrong := needed.difference(definition) | set(definition).difference(needed, optional):
        raise UserError(
            f"{path}: {', '.join(sorted(wrong))} is missing or unknown; kind {definition['kind']} "
            f"takes {', '.join(sorted(needed))} and optionally {', '.join(sorted(optional))}"
        )
    for key, choices in CHOICES.items():
        if key in definition and definition[key] not in choices:
            raise UserError(
                f"{path}: {key} is {definition[key]!r}, "
                f"but it takes one of {', '.join(map(str, choices))}"
            )
    return definition


def chosen(name: str, where: Where, stage: str | None) -> dict[str, Any]:
    """Read a figure's definition, with the requested stage and selection in place of its own.

    Raises:
        UserError: when the figure has no stage, or shows one selection and several were requested.
    """
    definition = read_definition(name)
    kind = KINDS[definition["kind"]]
    if stage is not None:
        if "stage" not in kind.keys | kind.optional:
            raise UserError(
                f"figure {name} shows what runs report, not their epochs, so it takes no --stage"
            )
        definition["stage"] = stage
    if "selection" in where and "selection" in kind.keys:
        if len(where["selection"]) > 1:
            raise UserError(
                f"figure {name} shows one selection, "
                f"and --where names {', '.join(where['selection'])}"
            )
        definition["selection"] = where["selection"][0]
    return definition


def write_figure(
    name: str,
    runs: Path,
    out: Path,
    where: Where | None = None,
    stage: str | None = None,
    archive: Path | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Write <out>/<name>.svg, .png, .csv and .provenance.json.

    The runs are those of the figure's `table` or `experiment`, else all. Return the data, and notes
    on what is missing in them.

    Raises:
        UserError: when no finished run belongs to the figure, or its runs cannot be drawn together.
    """
    where = where or {}
    definition = chosen(name, where, stage)
    kind = KINDS[definition["kind"]]
    methods: Methods = {}
    if "table" in definition:
        done, notes, methods = from_table(definition["table"], runs, where, archive)
    elif "experiment" in definition:
        done, notes = from_experiment(definition["experiment"], runs, where, archive)
    else:
        done, notes = from_ledger(runs, where, archive)
    kept, left_out = frames.usable(definition, done)
    most = definition.get("most", kind.most)
    drawn = (
        by_method(kept, methods)
        if methods
        else lines(kept, most, lambda run: kind.varied(definition, run))
    )
    frame, missing = kind.tabulate(definition, drawn)
    figure = kind.draw(definition, frame)
    layout.entitle(figure, definition["title"], frame)
    used = [run.summary for run in kept]
    write_result(out / name, used, {".csv": frame, **picture(figure)})
    return frame, [*notes, *left_out, *missing]
