"""Write the reference of keys: every key of conf/ with its default, what it takes and its comment.

python scripts/docs/keys.py > keys.md
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hapens_bench.config.components import component_class
from hapens_bench.config.compose import ROOT_KEYS
from hapens_bench.config.keys import Key
from hapens_bench.launch.validate import TRAINER_KEYS
from hapens_bench.tracking.background import LIMIT_KEY

CONF = Path(__file__).parents[2] / "conf"
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<rest>.*)$")
GROUPS = {
    "sampler": "Samplers",
    "loss": "Losses",
    "model": "Models",
    "dataset": "Data sets",
    "protocol": "Protocols",
    "trainer": "Trainer",
    "logger": "Trackers",
    "tune": "hapens tune",
}
INTRO = """# Keys

Made from the YAML files of `conf/` and from the keys that components declare. A key is set on the
command line, as in `sampler.M=16`; an unknown one, or a value that it does not take, is refused
before anything is trained. A file that has `defaults` says only what differs from those.
"""
COMMANDS = ("# @package", "#   ")  # lines of an opening comment that are no text
OWN_TABLES = ("sources", "paper", "paper_of")  # of data sets: told in docs/data.md


def comments(text: str) -> dict[str, str]:
    """Give the comment at the end of each key's line, by dotted key."""
    found, path = {}, []
    for line in text.splitlines():
        if not (match := LINE.match(line)):
            continue
        indent = len(match["indent"])
        while path and path[-1][0] >= indent:
            path.pop()
        path.append((indent, match["key"]))
        value, hash_sign, comment = match["rest"].partition(" #")
        if hash_sign and value.count("'") % 2 == 0 and value.count('"') % 2 == 0:
            found[".".join(key for _, key in path)] = comment.strip()
    return found


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings, by dotted key."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def declared(tree: Mapping[str, Any], group: str) -> dict[str, Key]:
    """Give the keys that the classes of a file declare, by dotted key."""
    found: dict[str, Key] = {}
    if group == "":
        found |= ROOT_KEYS
    if group == "trainer":
        found |= TRAINER_KEYS
    if group == "logger":
        found |= {f"{name}.limit": LIMIT_KEY for name in tree}
    for base in tree.get("defaults", []):
        if isinstance(base, str) and (CONF / group / f"{base}.yaml").is_file():
            found |= declared(yaml.safe_load((CONF / group / f"{base}.yaml").read_text()), group)
    for section in ("", "sampler", "loss", "model"):
        part = tree.get(section, {}) if section else tree
        if group in ("sampler", "loss", "model") and "_target_" in part:
            prefix = f"{section}." if section else ""
            found |= {f"{prefix}{name}": key for name, key in component_class(part).keys.items()}
    return found


def shown(value: Any) -> str:
    """Write a default as YAML has it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def cell(text: str) -> str:
    """Make a text fit into a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Make a text fit into a cell as code."""
    return "`" + text.replace("|", "\\|") + "`"


def file_section(path: Path, group: str) -> str:
    """Write one YAML file: its heading, what it is, and its keys."""
    text = path.read_text()
    tree = yaml.safe_load(text) or {}
    title = path.relative_to(CONF / group).with_suffix("").as_posix() if group else path.stem
    said, keys = comments(text), declared(tree, group)
    opening = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    about = [line[1:].strip() for line in opening if not line.startswith(COMMANDS)]
    rows = []
    whole = bool(group) and "@package _global_" in text
    for name, value in leaves(tree):
        inner = name.split(".")[-1]
        first = name.split(".")[0]
        if first in ("defaults", "hydra", *OWN_TABLES) or inner == "_target_":
            continue
        if inner == "name" and name in ("name", f"{group}.name"):
            continue
        full = name if whole or not group else f"{group}.{name}"
        allowed = keys[name].allowed() if name in keys else ""
        rows.append(
            f"| `{full}` | {code(shown(value))} | {cell(allowed)} | {cell(said.get(name, ''))} |"
        )
    choice, _, dataset = title.partition("/")
    heading = f"### `{group}={choice}`" if group else "## Top level"
    heading += f" with `dataset={dataset}`" if dataset else ""
    note = re.sub(r":$", ".", " ".join(about))  # before a command, which is left out
    parts = [heading, cell(note).replace("*", "\\*")]
    if rows:
        parts.append("\n".join(["| key | default | takes | |", "| --- | --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """Write the whole page."""
    parts = [INTRO, file_section(CONF / "config.yaml", "")]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        for path in sorted((CONF / group).rglob("*.yaml")):
            parts.append(file_section(path, group))
    return "\n".join(parts)


if __name__ == "__main__":
    print(page())
