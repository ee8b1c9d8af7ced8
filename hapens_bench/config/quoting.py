"""Text that Hydra reads back as the same values, and a shell as the same words."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAIN_WORD = re.compile(r"[A-Za-z_][\w./:@-]*", re.ASCII)


def hydra_value(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{hydra_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(hydra_value, value)) + "]"
    if isinstance(value, Path):
        return hydra_value(str(value))
    if not isinstance(value, str):
        return str(value)
    if PLAIN_WORD.fullmatch(value) and value.lower() not in ("true", "false", "null", "nan", "inf"):
        return value
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # no interpolation
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", value)  # a backslash counts only before a quote
    return "'" + doubled.replace("'", r"\'") + "'"


def hapens_command(*words: str) -> str:
    """Return the command `hapens <words>` as it is typed in a shell."""
    return shlex.join(["hapens", *words])


def wrapped(command: str, width: int) -> list[str]:
    """Return a command in lines that a shell joins, each as long as its words and `width` allow."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(f"{lines[-1]} {word} \\") > width:
            lines[-1] += " \\"
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
