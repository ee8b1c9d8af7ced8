"""A config as dotted keys, such as `sampler.M`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def look_up(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, or `...` where there is none."""
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return ...
        value = value[name]
    return ... if isinstance(value, Mapping) else value


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a config as dotted keys."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": value}
        )
    return values
