"""The configs of runs: their text, what they hold, and the keys in which settings differ."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hapens_bench.config import identity, run_id
from hapens_bench.tracking.run_folder import DamagedRun

SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
PLAIN_WORD = re.compile(r"[A-Za-z_][\w./:@-]*")


def read_config(folder: Path, expected: str) -> tuple[list[str], dict[str, Any]]:
    """Read a run's config.yaml: its text, a piece for each section, and what it says.

    Thousands of runs have few different sections, so each is parsed (and kept in a report) once.

    Raises:
        DamagedRun: when it cannot be read, or is not the config of run `expected`.
    """
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its end is missing")
        sections = SECTION.split(text)
        config = {key: value for section in sections for key, value in _parse(section).items()}
        found = run_id(config)
    except Exception as error:  # whatever a cut-off or foreign file brings about
        raise DamagedRun(f"config.yaml cannot be read: {type(error).__name__}: {error}") from error
    if found != expected:
        raise DamagedRun(f"config.yaml is of run {found}, not of {expected}")
    return sections, config


@cache
def _parse(section: str) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(io.StringIO(section)))
    if not isinstance(found, dict):
        raise ValueError("it holds no mapping")
    return {str(key): value for key, value in found.items()}


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each config, briefly, in which keys it differs from some of the others: `M=16 lr=0.002`."""
    flat = [dict(_leaves(identity({**config, "seed": 0}))) for config in configs]
    keys = list(dict.fromkeys(key for one in flat for key in one if not _is_label(key)))
    told = [key for key in keys if len({json.dumps(one.get(key), default=str) for one in flat}) > 1]
    names = {key: key.removesuffix(".name").rpartition(".")[2] for key in told}
    often = Counter(names.values())
    short = {key: name if often[name] == 1 else key for key, name in names.items()}
    return [" ".join(f"{short[key]}={written(one[key])}" for key in told if key in one) for one in flat]


def _is_label(key: str) -> bool:
    """Whether a key says nothing that another one, or a column of its own, does not say."""
    return key.endswith("._target_") or (key.endswith(".name") and key != "loss.name")


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def written(value: Any) -> str:
    """Write a value in the grammar of Hydra's overrides."""
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
