"""Folders of one's own outside the checkout: config groups, and the modules that configs name."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError

WORD = "hydra.searchpath="


@dataclass(frozen=True)
class Outside:
    """What a command takes configs from beside conf/: the entries of `hydra.searchpath`.

    Folders stand in it with their whole path, so a command that is printed works anywhere.
    """

    entries: tuple[str, ...] = ()

    @property
    def folders(self) -> list[Path]:
        """The entries that are folders."""
        return [Path(entry[len("file://") :]) for entry in self.entries if entry[:7] == "file://"]

    @property
    def overrides(self) -> list[str]:
        """The override that makes Hydra find them; none where there are none."""
        return [f"{WORD}{hydra_value(self.entries)}"] if self.entries else []


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Add --config-dir, as `hapens train` has it."""
    parser.add_argument(
        "--config-dir",
        "-cd",
        type=Path,
        metavar="DIR",
        help="a folder of your own, such as one with DIR/mine.py and DIR/sampler/mine.yaml",
    )


def outside(words: Sequence[str], config_dir: Path | None) -> tuple[Outside, list[str]]:
    """Return the folders that --config-dir and `hydra.searchpath` name, and the other words.

    Their modules can be imported from then on, here and in processes that this one starts.

    Raises:
        UserError: when there is no such folder.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    named = [str(config_dir)] if config_dir is not None else []
    for word in words:
        if word.startswith(WORD):
            value = OverridesParser.create().parse_override(word).value()
            if not isinstance(value, list):
                raise UserError(
                    f"{word} names no list; take {WORD}[file://DIR] or --config-dir DIR"
                )
            named += map(str, value)
    found = Outside(tuple(dict.fromkeys(map(_whole, named))))
    for folder in found.folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder} to take configs from")
    make_importable(found.folders)
    return found, [word for word in words if not word.startswith(WORD)]


def of_command(argv: Sequence[str]) -> Outside:
    """Return the folders that the command line of `hapens train` names.

    Raises:
        UserError: when there is no such folder.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_config_dir(parser)
    known, words = parser.parse_known_args(argv)
    return outside(words, known.config_dir)[0]


def make_importable(folders: Sequence[Path]) -> None:
    """Let this process, and those that it starts, import the modules in folders."""
    new = [str(folder) for folder in folders if str(folder) not in sys.path]
    if new:
        sys.path[:0] = new
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*new, *([before] if before else [])])


def _whole(entry: str) -> str:
    scheme, found, path = entry.rpartition("://")
    if found and scheme != "file":
        return entry
    return f"file://{Path(path).expanduser().absolute()}"
