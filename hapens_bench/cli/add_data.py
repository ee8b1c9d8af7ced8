"""`hapens data add`: write the YAML of a data set of one's own, after reading its files once."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import uuid
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hapens_bench.config.compose import compose_config
from hapens_bench.config.own_files import PARTS
from hapens_bench.config.paths import conf_dir, user_conf_dir
from hapens_bench.config.quoting import hydra_value
from hapens_bench.data.own.read import Own, read_own
from hapens_bench.errors import UserError


def add_add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", help="what dataset= is to call it")
    parser.add_argument("files", nargs="*", help="files that are read one after another")
    for part in ("train", "valid", "test"):
        parser.add_argument(f"--{part}", help="instead: a file of a split that is taken as it is")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="keys of conf/dataset/mine.yaml, such as columns.user=reviewer delimiter=tab",
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=user_conf_dir(),
        help="where to write dataset/NAME.yaml (default: %(default)s, which all commands search)",
    )
    parser.add_argument("--force", action="store_true", help="replace what has this name there")


def run_add(arguments: argparse.Namespace) -> int:
    """Read the files, write the YAML, and print what is in them and how to train on them."""
    name, folder = arguments.name, arguments.config_dir
    if not re.fullmatch(r"\w[\w-]{0,99}", name):
        raise UserError(f"{name!r} is no name: take a word of letters, digits, '_' and '-'")
    if (conf_dir() / "dataset" / f"{name}.yaml").exists():
        raise UserError(f"{name} is the name of a data set that is here already; take another")
    target = folder / "dataset" / f"{name}.yaml"
    if target.exists() and not arguments.force:
        raise UserError(f"{target} is there already; --force replaces it")
    files: dict[str, Any] = {part: getattr(arguments, part) for part in ("train", "valid", "test")}
    if arguments.files:
        files["path"] = arguments.files if len(arguments.files) > 1 else arguments.files[0]
    overrides = [f"dataset.{part}={hydra_value(path)}" for part, path in files.items() if path]
    overrides += [f"dataset.{option}" for option in arguments.set]
    dataset = compose_config(["dataset=mine", *overrides])["dataset"]
    own = read_own(dataset)
    _write(target, name, dataset, own)
    for sentence in own.said:
        print(sentence)
    n_users, n_items = own.read.n_users, own.read.n_items
    print(
        f"{own.rows:,} rows, {own.pairs:,} pairs of {n_users:,} users and {n_items:,} items, "
        f"density {own.pairs / (n_users * n_items):.3%}; no row was dropped"
        + (f", {own.rows - own.pairs:,} were merged" if own.rows > own.pairs else "")
    )
    print(f"written: {target}")
    elsewhere = folder.absolute() != user_conf_dir().absolute()
    where = f" --config-dir {shlex.quote(str(folder))}" if elsewhere else ""
    print(f"train on it: hapens train{where} dataset={name}")
    return 0


def _write(target: Path, name: str, dataset: dict[str, Any], own: Own) -> None:
    section = {
        "defaults": ["mine", "_self_"],
        "name": name,
        **{part: dataset[part] for part in PARTS if dataset[part]},
        "sha256": dataset["sha256"],
        **own.options,
    }
    text = (
        f"# Data of your own, written by `hapens data add {name}`: how its files are read.\n"
        f"#   python -m hapens_bench dataset={name}\n"
        + OmegaConf.to_yaml(OmegaConf.create(section))
    )
    temporary = target.with_name(f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error}") from None
