"""Composing a config from the YAML defaults and overrides."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hapens_bench.config.identity import canonical
from hapens_bench.config.keys import Key
from hapens_bench.config.own_files import is_own, with_content
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError

ROOT_KEYS = {
    "seed": Key(int, low=0, high=2**62),
    "resume": Key(str, choices=("auto", "force", "never")),
    "archive": Key(str),
}
# An override of a key; group names have no dots.
VALUE = re.compile(rf"({'|'.join(ROOT_KEYS)}|(?!hydra\.)\w+(\.\w+)+)=.*", re.DOTALL)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a composed config as resolved plain containers, without Hydra's own part.

    The files of a data set of one's own have absolute paths and checksums in it.
    """
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    exact = 2**53  # numbers such as 1e3 become integers, where that is exact
    kept = {str(key): canonical(value, exact) for key, value in container.items() if key != "hydra"}
    if isinstance(kept.get("dataset"), dict) and is_own(kept["dataset"]):
        kept["dataset"] = with_content(kept["dataset"])
    return kept


def compose_config(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config that the command line would compose, without running it."""
    return plain(unresolved(overrides))


def unresolved(overrides: Sequence[str]) -> DictConfig:
    """Return the config that the command line would compose, with unresolved interpolations."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", list(overrides))


def compose_choice(group: str, name: str, search: Sequence[str] = ()) -> dict[str, Any]:
    """Return one file of a group as plain containers, with its interpolations as they are.

    `search` are overrides that add to the places where it may be.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        section = compose(None, [f"+{group}={name}", *search])[group]
    container = OmegaConf.to_container(section)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def searched(folder: Path | None) -> list[str]:
    """Return the override by which Hydra also looks for choices in a folder, if there is one.

    Raises:
        UserError: when there is no such folder.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise UserError(f"--config-dir is {folder}, but there is no such folder")
    return [f"hydra.searchpath=['file://{folder.absolute()}']"]


def once_for_each_choice(
    compose: Callable[[Sequence[str]], DictConfig],
) -> Callable[[Sequence[str]], dict[str, Any]]:
    """Wrap `compose` to return plain dicts, caching configs that differ only in values.

    Composing takes a tenth of a second, and setting values in a composed config a tenth of that.
    Where keys are added, removed or set to whole sections, or a value cannot be set, everything is
    composed anew.
    """
    known: dict[tuple[str, ...], DictConfig] = {}

    def composed(overrides: Sequence[str]) -> dict[str, Any]:
        choices = tuple(override for override in overrides if not VALUE.fullmatch(override))
        values = OverridesParser.create().parse_overrides(
            [o for o in overrides if VALUE.fullmatch(o)]
        )
        reshaped = any(choice.startswith(("+", "~")) or "={" in choice for choice in choices)
        if reshaped or any(value.is_sweep_override() for value in values):
            return plain(compose(overrides))
        if choices not in known:
            known[choices] = compose(choices)
        config = copy.deepcopy(known[choices])
        try:
            for value in values:
                OmegaConf.update(config, value.key_or_group, value.value())
        except OmegaConfBaseException:  # compose again for Hydra's own message
            return plain(compose(overrides))
        return plain(config)

    return composed
