"""Declared keys: what the YAML of a component may hold, checked before training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hapens_bench.errors import did_you_mean


@dataclass(frozen=True)
class Key:
    """One key of a component: its type and the allowed range.

    `shared` keys must be equal in all trials of a pack (they shape tensors or select code). The
    others become tensors of shape [T, 1, 1] and may differ between trials. `host` keys may differ,
    too, but do not reach the constructor: they are read from each trial's config. `choices` are the
    texts allowed, for a bool in addition to true and false. `without` are characters that a text
    may not have.
    """

    kind: type
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    without: str = ""
    optional: bool = False
    shared: bool = False
    host: bool = False

    def allowed(self) -> str:
        """Return in words what the key takes."""
        if self.choices:
            text = "one of " + ", ".join(
                (*(("true", "false") if self.kind is bool else ()), *self.choices)
            )
        elif self.kind is bool:
            text = "true or false"
        else:
            text = {
                int: "a whole number",
                float: "a number",
                str: "a text",
                list: "a list",
                dict: "a section",
            }[self.kind]
            if self.without:
                text += f" without {' '.join(self.without)}"
            bounds = [
                f"above {self.above:g}" if self.above is not None else "",
                f"at least {self.low:g}" if self.low is not None else "",
                f"at most {self.high:g}" if self.high is not None else "",
            ]
            text = " ".join([text, " and ".join(b for b in bounds if b)]).strip()
        return text + " or null" if self.optional else text

    def accepts(self, value: Any) -> bool:
        """Return whether a value from YAML is of the right type and in range."""
        if value is None:
            return self.optional
        if self.kind is bool:
            return isinstance(value, bool) or (isinstance(value, str) and value in self.choices)
        if self.kind is str:
            return (
                isinstance(value, str)
                and (not self.choices or value in self.choices)
                and not set(value) & set(self.without)
            )
        if self.kind is dict:
            return isinstance(value, Mapping)
        if self.kind is list:
            return isinstance(value, list) and all(
                not self.choices or v in self.choices for v in value
            )
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or too_large(value)
            or not math.isfinite(value)
        ):
            return False
        if self.kind is int and value != int(value):
            return False
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )


def too_large(value: Any) -> bool:
    """Return whether a value is an integer that does not fit into 64 bits."""
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def problems(section: str, keys: Mapping[str, Key], config: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for every key that is missing, unknown or out of range."""
    for name, key in keys.items():
        if name not in config:
            yield f"{section}.{name} is missing; it takes {key.allowed()}"
        elif too_large(config[name]):
            digits = len(str(abs(config[name])))
            yield f"{section}.{name} has {digits} digits, more than a number of 64 bits can have"
        elif not key.accepts(config[name]):
            yield f"{section}.{name} is {config[name]!r}, but it takes {key.allowed()}"
    for name in config:
        if name not in keys and name not in ("name", "_target_"):
            known = ", ".join(sorted(keys)) or "no keys"
            text = f"there is no key {section}.{name}; {section} takes {known}"
            yield text + did_you_mean(str(name), keys)
