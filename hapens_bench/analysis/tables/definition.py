"""The cells of a table of conf/table, and the runs that fill them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from hapens_bench.analysis.replicates import Replicates, Run
from hapens_bench.config.compose import once_for_each_choice, unresolved
from hapens_bench.config.identity import config_id
from hapens_bench.config.paths import conf_file, lacks_tuned_file
from hapens_bench.errors import UserError


@dataclass
class Cell(Replicates):
    """One data set x sampler of a table: the overrides that run it, and its finished runs."""

    dataset: str = ""
    sampler: str = ""
    overrides: list[str] = field(default_factory=list)
    config_id: str = ""


def read_definition(name: str) -> dict[str, Any]:
    """Read conf/table/<name>.yaml; keys that it lacks are taken from the table that `like` names.

    `paper` holds the printed numbers by data set and sampler; where it names another table, it
    becomes that table's numbers for `datasets`. A table without printed numbers has no `paper`.
    `groups` are the samplers by group. `datasets` and `samplers` are always there.

    Raises:
        UserError: when there is no such table.
    """
    definition = _written(name)
    paper = definition.get("paper")
    if isinstance(paper, str):
        printed = read_definition(paper)["paper"]
        definition["paper"] = {dataset: printed[dataset] for dataset in definition["datasets"]}
    elif paper is not None:
        definition["datasets"] = list(paper)
    if "groups" in definition:
        rows = [rows for group in definition["groups"].values() for rows in group.items()]
        definition["samplers"] = dict(rows)
    return definition


def common_overrides(definition: Mapping[str, Any], dataset: str) -> list[str]:
    """Return the overrides of all rows on a data set: its own of `overrides_of` win."""
    return winning(definition.get("overrides_of", {}).get(dataset, []), definition["overrides"])


def winning(first: Sequence[str], then: Sequence[str]) -> list[str]:
    """Join overrides; where both set a key, the first ones win."""
    keys = {word.partition("=")[0] for word in first}
    return [*first, *(word for word in then if word.partition("=")[0] not in keys)]


def _written(name: str) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(conf_file("table", name)), resolve=True)
    assert isinstance(content, dict)
    written = {str(key): value for key, value in content.items()}
    return {**_written(written["like"]), **written} if "like" in written else written


def cells(definition: Mapping[str, Any]) -> list[Cell]:
    """Compose the config of every cell, so that runs are matched by identity, not by label.

    A row's own overrides win over those of all rows.
    A cell that lacks its required tuned file has no id, so no run fits it.
    """
    compose = once_for_each_choice(unresolved)
    composed = []
    for dataset in definition["datasets"]:
        for sampler, overrides in definition["samplers"].items():
            full = winning(
                [f"dataset={dataset}", *overrides], common_overrides(definition, dataset)
            )
            config = compose(full)
            identity = "" if lacks_tuned_file(config) else config_id(config)
            composed.append(
                Cell([], dataset=dataset, sampler=sampler, overrides=full, config_id=identity)
            )
    return composed


def fill(definition: Mapping[str, Any], runs: Sequence[Run]) -> list[Cell]:
    """Return the cells with their runs.

    Raises:
        UserError: when the runs of a cell were made on different data.
    """
    filled = cells(definition)
    for cell in filled:
        cell.runs = [run for run in runs if run["config_id"] == cell.config_id]
        hashes = sorted({run["data_hash"] for run in cell.runs})
        if len(hashes) > 1:
            raise UserError(
                f"the runs of {cell.sampler} on {cell.dataset} were made on different data "
                f"({', '.join(hashes)}); move the run folders of one of them away"
            )
    return filled
