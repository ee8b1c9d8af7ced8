"""The options of trackers, checked before training: a tracker that fails later only warns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hapens_bench.config.components import component_class
from hapens_bench.config.keys import problems
from hapens_bench.tracking.background import LIMIT_KEY


def option_problems(logger: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each option of the section `logger` that its tracker does not take.

    A tracker declares its options as `keys`; of one without, only `limit` is checked.

    Raises:
        UserError: when a tracker cannot be imported.
    """
    for name, section in logger.items():
        if not isinstance(section, Mapping):
            yield f"logger.{name} is {section!r}, but it takes a section of keys"
            continue
        common = {"limit": LIMIT_KEY} if "limit" in section else {}
        keys = getattr(component_class(section), "keys", None)
        if keys is not None:
            yield from problems(f"logger.{name}", keys | common, section)
        elif common:
            yield from problems(f"logger.{name}", common, {"limit": section["limit"]})
