"""What is wrong with overrides that Hydra cannot compose, in one sentence.

Hydra is imported only where there is an error: a command that succeeds may not need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError, did_you_mean, needs


def is_mistake(error: Exception) -> bool:
    """Whether an error is the user's; Hydra and OmegaConf have classes of their own for these."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (UserError, HydraException, OmegaConfBaseException))


def sentence(error: Exception, overrides: Sequence[str] = ()) -> str:
    """Return one line on what is wrong with overrides, and what is allowed."""
    from hydra.errors import MissingConfigException

    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        if error.missing_cfg_file == "hydra/launcher/joblib":
            return needs("hydra/launcher=joblib", "hydra-joblib-launcher", "joblib")
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        return (
            f"there is no {group or 'config'} {name!r}; choose one of {', '.join(options)}"
            + did_you_mean(name, options)
        )
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown:
        return _no_such_key(unknown[1], overrides)
    return " ".join(text.split("Config search path")[0].split())


def _no_such_key(key: str, overrides: Sequence[str]) -> str:
    """Return the sentence on an unknown key: what its section takes, and what was meant."""
    config = _chosen(key, overrides)
    section, _, last = key.rpartition(".")
    inside: Any = config
    for name in section.split(".") if section else ():
        inside = inside.get(name) if isinstance(inside, Mapping) else None
    if not isinstance(inside, Mapping):
        return f"there is no key {key}{did_you_mean(key, _dotted(config))}"
    names = sorted(set(inside) - {"name", "_target_"})
    choice = f"{section}={inside['name']}" if "name" in inside else section or "the config"
    takes = f"{choice} takes {', '.join(names) or 'no keys'}"
    return f"there is no key {key}; {takes}{did_you_mean(last, names)}"


def _chosen(key: str, overrides: Sequence[str]) -> Mapping[str, Any]:
    """Return the config with the choices of groups among the overrides, as far as it composes."""
    from hapens_bench.config.compose import VALUE, compose_config

    choices = [
        text
        for text in overrides
        if re.fullmatch(r"[\w/]+=[\w./-]+", text)
        and not VALUE.fullmatch(text)
        and not text.startswith(f"{key}=")
    ]
    try:
        return compose_config(choices)
    except Exception as error:  # another mistake beside this one
        if not is_mistake(error):
            raise
        return compose_config([])


def _dotted(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
