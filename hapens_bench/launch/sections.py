"""The sections of a config: whether each is there and well-formed, before its keys are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hapens_bench.config.keys import Key, problems

NAMED = ("dataset", "protocol", "model", "sampler", "loss", "trainer")
SECTIONS = (*NAMED, "paths", "logger")
PROTOCOL_KEYS = {
    "author_split": Key(bool),
    "filter": Key(dict),
    "split": Key(dict),
    "valid": Key(dict),
    "mask": Key(str, choices=("train+valid", "train")),
    "negatives": Key(str, choices=("all", "exclude_held_out")),
    "ranking": Key(str),
    "metrics": Key(list),
    "monitor": Key(str),
    "selection": Key(list),
}
PROTOCOL_PARTS = {
    name: Key(dict, optional=True)
    for name in ("subset", "candidates", "noise", "relabel", "judged")
}
PATH_KEYS = {
    "out": Key(str),
    "runs": Key(str),
    "cache": Key(str),
    "mirror": Key(str, optional=True),
}


def section_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each section that is missing, not a mapping, or misnamed.

    A name must be usable as a folder name. The paths are checked too.
    """
    for section in SECTIONS:
        if not isinstance(config.get(section), Mapping):
            yield f"{section} is {config.get(section)!r}, but it takes a section of keys"
        elif section in NAMED:
            name = config[section].get("name")
            # the run folder is named after it
            if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]{0,99}", name):
                yield (
                    f"{section}.name is {name!r}, "
                    "but it takes a word of letters, digits, '_', '.', '+' and '-'"
                )
    if not isinstance(config.get("tuned") or {}, Mapping):
        yield f"tuned is {config['tuned']!r}, but it takes a section of keys"
    if isinstance(config.get("protocol"), Mapping):
        optional = {name: key for name, key in PROTOCOL_PARTS.items() if name in config["protocol"]}
        yield from problems("protocol", PROTOCOL_KEYS | optional, config["protocol"])
    if isinstance(config.get("paths"), Mapping):
        key_problems = list(problems("paths", PATH_KEYS, config["paths"]))
        yield from key_problems or _path_problems(config["paths"])


def _path_problems(paths: Mapping[str, str | None]) -> Iterator[str]:
    for name, path in paths.items():
        try:
            if path is not None and "\0" in str(Path(path).expanduser()):
                raise ValueError("it has a null character")
        except (RuntimeError, ValueError) as error:  # ~nobody
            yield f"paths.{name} is {path!r}, but it takes a path ({error})"
