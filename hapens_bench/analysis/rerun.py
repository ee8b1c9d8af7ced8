"""The command that runs a trial again, derived from its config alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from hapens_bench.config.compose import compose_config
from hapens_bench.config.identity import identity
from hapens_bench.config.own_files import PARTS, is_own
from hapens_bench.config.paths import conf_dir, user_conf_dir
from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError

CHOSEN = ("dataset", "protocol", "model", "sampler")
FOLLOWING = ("loss", "trainer")  # named only where they differ from what those four imply


def rerun_command(config: Mapping[str, Any]) -> str:
    """Return the command line that trains this config, without its seed.

    It starts from the defaults without tuned hyper-parameters and sets each key that differs.
    Folders, and keys that cannot change a result, are left to the place where it is typed.

    Raises:
        UserError: when the config names a component that has no YAML file here.
    """
    return shlex.join(["python", "-m", "hapens_bench", *overrides(config)])


def overrides(config: Mapping[str, Any]) -> list[str]:
    """Return the overrides that compose a config of the same identity, without its seed.

    Raises:
        UserError: as `rerun_command`.
    """
    names = {group: _choice(group, config) for group in (*CHOSEN, *FOLLOWING)}
    chosen = tuple(f"{group}={names[group]}" for group in CHOSEN)
    base = _defaults(chosen)
    chosen += tuple(
        f"{group}={names[group]}" for group in FOLLOWING if base[group]["name"] != names[group]
    )
    base, wanted = identity(_defaults(chosen)), identity(config)
    files = _own_files(_defaults(chosen)["dataset"], config["dataset"])
    differences = _differences(base, {**wanted, "seed": base["seed"]})
    return [*chosen, "tuned=none", *files, *differences]


def _choice(group: str, config: Mapping[str, Any]) -> str:
    """Return the name of the file that a section comes from.

    Raises:
        UserError: when there is none here.
    """
    name = str(config[group].get("name"))
    places = (conf_dir() / group, user_conf_dir() / group)
    if re.fullmatch(r"[\w-]+", name) and any((p / f"{name}.yaml").is_file() for p in places):
        return name
    if group == "dataset" and is_own(config["dataset"]):
        return "mine"
    raise UserError(f"no command can be given: there is no conf/{group}/{name}.yaml here")


def _own_files(base: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    """Return the overrides that name the files of a data set of one's own."""
    named = (part for part in PARTS if is_own(dataset) and dataset.get(part) != base.get(part))
    return [f"dataset.{part}={hydra_value(dataset[part])}" for part in named]


@cache
def _defaults(chosen: tuple[str, ...]) -> dict[str, Any]:
    return compose_config([*chosen, "tuned=none"])


def _differences(
    base: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    yield from (f"~{prefix}{key}" for key in base if key not in wanted)
    for key, value in wanted.items():
        if key not in base:
            yield f"+{prefix}{key}={hydra_value(value)}"
        elif isinstance(value, Mapping) and isinstance(base[key], Mapping):
            yield from _differences(base[key], value, f"{prefix}{key}.")
        elif base[key] != value:
            yield f"{prefix}{key}={hydra_value(value)}"
