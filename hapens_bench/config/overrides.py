"""Values in the grammar of Hydra's overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PLAIN_WORD = re.compile(r"[A-Za-z_][\w./:@-]*")


def written(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(written, value)) + "]"
    if not isinstance(value, str):
        return str(value)
    if PLAIN_WORD.fullmatch(value) and value.lower() not in ("true", "false", "null", "nan", "inf"):
        return value
    doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # a backslash counts only before a quote
    return "'" + doubled.replace("'", r"\'") + "'"
