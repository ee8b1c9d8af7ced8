"""`hapens data list | fetch | verify | stats | add | ids`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from hapens_bench.analysis.formats import write_frame
from hapens_bench.cli.add_data import add_add_arguments, run_add
from hapens_bench.config.compose import compose_choice, compose_config
from hapens_bench.config.outside import WORD, outside
from hapens_bench.config.own_files import digest, files_of, is_own
from hapens_bench.config.paths import conf_dir, user_conf_dir
from hapens_bench.data.interactions import Split
from hapens_bench.data.load import choose_source, keeps_split, load, named_source
from hapens_bench.data.sources import (
    SourceFile,
    cache_dir,
    checksums,
    fetch_file,
    files_of_source,
    find_file,
    mirror_dir,
    wrong_with,
)
from hapens_bench.errors import UserError, did_you_mean
from hapens_bench.tracking.screen import screen

CONSOLE = screen()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(
        name: str, text: str, run: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added

    listing = action(
        "list", "the data sets, their sources, and which files are on this machine", run_list
    )
    fetch = action("fetch", "download a data set's files", run_fetch)
    fetch.add_argument("name")
    fetch.add_argument("--source", help="source to use (default: author, else dataset.source)")
    verify = action("verify", "check the files on this machine against their checksums", run_verify)
    verify.add_argument("name", nargs="?")
    verify.add_argument("overrides", nargs="*", help="hydra.searchpath=[file://DIR]")
    stats = action("stats", "sizes beside the paper's, and the differences", run_stats)
    stats.add_argument("name")
    ids = action("ids", "the ids of users and items in the files, by number", run_ids)
    ids.add_argument("name")
    ids.add_argument("--out", type=Path, help="a .csv or .parquet file; without it, print them")
    for added in (stats, ids):
        added.add_argument(
            "overrides",
            nargs="*",
            help="as for hapens train, such as protocol=sdns (default: protocol=ahns)",
        )
    for added in (listing, fetch, verify, stats, ids):
        added.add_argument(
            "--config-dir", type=Path, help="a folder of YAML files of your own, as for Hydra"
        )
    add_add_arguments(action("add", "write the YAML of a data set of your own", run_add))


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all data sets: shipped ones, the user's, and those of a folder."""
    places = [conf_dir(), user_conf_dir(), *([folder] if folder else [])]
    return sorted({path.stem for place in places for path in (place / "dataset").glob("*.yaml")})


def read(name: str, folder: Path | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a data set's YAML; of the overrides, `hydra.searchpath` says where it may be, too.

    Raises:
        UserError: when no data set has that name.
    """
    beside, known = outside(overrides, folder)[0], names(folder)
    if name not in known and not any(word.startswith(WORD) for word in overrides):
        raise UserError(
            f"there is no data set {name!r}; choose one of {', '.join(known)}"
            + did_you_mean(name, known)
        )
    return compose_choice("dataset", name, beside.overrides)


def files(dataset: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], SourceFile]]:
    """Yield each file of each source of a data set, with the source's name and section."""
    for variant, source in dataset.get("sources", {}).items():
        for file in files_of_source(variant, source).values():
            yield variant, source, file


def own_states(dataset: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each file of a data set of one's own, and whether it is what it was."""
    if not is_own(dataset):
        return
    for part, paths in files_of(dataset).items():
        for at, path in enumerate(paths):
            expected = ((dataset["sha256"] or {}).get(part) or [None] * len(paths))[at]
            actual = digest(path)
            if actual is None:
                yield path, "missing"
            elif expected is None:
                yield path, "here, but no checksum is known"
            else:
                different = f"it has sha256 {actual}, but {expected} was expected"
                yield path, "ok" if actual == expected else different


def composed(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any], Split]:
    """Return the data set and the protocol that a command names, and their split."""
    read(arguments.name, arguments.config_dir, arguments.overrides)
    beside, words = outside(arguments.overrides, arguments.config_dir)
    config = compose_config([f"dataset={arguments.name}", *beside.overrides, *words])
    split = load(config["dataset"], config["protocol"], cache_dir(), mirror_dir())
    return config["dataset"], config["protocol"], split


def run_ids(arguments: argparse.Namespace) -> int:
    """Print or write what users and items are called in the files, by their numbers."""
    _, _, split = composed(arguments)
    frame = pd.concat(
        pd.DataFrame({"kind": kind, "number": range(len(ids)), "id": ids})
        for kind, ids in zip(("user", "item"), split.called(), strict=True)
    )
    if arguments.out is None:
        sys.stdout.write(frame.to_csv(index=False))
        return 0
    write_frame(frame, arguments.out)
    CONSOLE.print(f"written: {arguments.out}", soft_wrap=True)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print every data set with its sources."""
    table = Table("data set", "source", "files", "here", "terms")
    for name in names(arguments.config_dir):
        dataset = read(name, arguments.config_dir)
        if is_own(dataset):
            paths = [Path(path) for part in files_of(dataset).values() for path in part]
            there = "yes" if all(path.is_file() for path in paths) else "no"
            shown = ", ".join(path.name for path in paths)
            table.add_row(name, "your own", shown or "dataset.path", there if paths else "–", "–")
        elif "sources" not in dataset:
            table.add_row(name, "generated", "–", "always", "–")
        for variant, source in dataset.get("sources", {}).items():
            parts = list(files_of_source(variant, source).values())
            here = all(find_file(file, cache_dir(), mirror_dir()) for file in parts)
            where = "" if parts[0].url else " (by hand)"
            table.add_row(
                name,
                variant,
                ", ".join(p.name for p in parts) + where,
                "yes" if here else "no",
                source.get("licence", "not stated"),
            )
    CONSOLE.print(table)
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download the files of one source of a data set, by default those of a paper's authors."""
    dataset = read(arguments.name, arguments.config_dir)
    if "sources" not in dataset:
        kind = "your own" if is_own(dataset) else "generated"
        CONSOLE.print(f"{arguments.name} is {kind}; there is nothing to fetch")
        return 0
    name = arguments.source or ("author" if "author" in dataset["sources"] else dataset["source"])
    for file in files_of_source(name, named_source(dataset, name)).values():
        CONSOLE.print(str(fetch_file(file, cache_dir(), mirror_dir())), soft_wrap=True)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Hash the files on this machine; return 1 if one of them is wrong."""
    wrong = 0
    table = Table("data set", "source", "file", "state")
    for name in [arguments.name] if arguments.name else names(arguments.config_dir):
        dataset = read(name, arguments.config_dir, arguments.overrides)
        for own_path, state in own_states(dataset):
            wrong += state.startswith("it has")
            table.add_row(name, "your own", own_path, state)
        for variant, _, file in files(dataset):
            path = find_file(file, cache_dir(), mirror_dir())
            state = "missing"
            if path is not None:
                try:
                    problem = wrong_with(file, path, cache_dir())
                except UserError as error:
                    problem = str(error)
                wrong += problem is not None
                known = checksums(file, path, cache_dir())
                state = problem or ("ok" if known else "here, but no checksum is known")
            table.add_row(name, variant, file.name, state)
    CONSOLE.print(table)
    return 1 if wrong else 0


def run_stats(arguments: argparse.Namespace) -> int:
    """Print the sizes of a data set under a protocol beside the paper's."""
    dataset, protocol, split = composed(arguments)
    paper = dataset.get("paper_of", {}).get(protocol["split"]["kind"], dataset.get("paper", {}))
    ours = stats(split)
    table = Table("", "here", "paper", title=f"{arguments.name} under protocol {protocol['name']}")
    for key, value in ours.items():
        printed = paper.get(key)
        if key == "density" and paper:
            printed = paper["interactions"] / (paper["users"] * paper["items"])
        table.add_row(key, show(value), show(printed) if printed is not None else "")
    CONSOLE.print(table)
    if paper:
        differing = [
            f"{key}: {ours[key] - paper[key]:+,} ({100 * (ours[key] / paper[key] - 1):+.1f}%)"
            for key in ("users", "items", "interactions")
            if ours[key] != paper[key]
        ]
        what = (
            f"differs from {paper['where']}: {'; '.join(differing)}"
            if differing
            else f"equal to {paper['where']}"
        )
        CONSOLE.print(what, soft_wrap=True)
    CONSOLE.print(f"split: {protocol['split']['kind']}")
    drawn = (protocol.get("subset") or {}).get("users")
    if "sources" in dataset and keeps_split(choose_source(dataset, protocol), protocol):
        drawn = None  # a published split is used in full
    if drawn is not None:
        users = f"{drawn:,} users, drawn with seed {protocol['subset']['seed']}"
        if ours["users"] < drawn:
            users = f"all {ours['users']:,} users, because there are fewer than {drawn:,}"
        CONSOLE.print(
            f"same protocol, different subset: {users}; compare orders and gains",
            highlight=False,
            soft_wrap=True,
        )
    CONSOLE.print(f"data hash {split.data_hash}")
    if split.negatives is not None:
        n = split.negatives.shape[1]
        CONSOLE.print(f"hash of the {n} negatives a user {split.negatives_hash}")
    return 0


def stats(split: Split) -> dict[str, float]:
    """Return counts of users, items, interactions and parts; density = interactions / (U I)."""
    parts = {name: len(getattr(split, name)) for name in ("train", "valid", "test")}
    if split.relabelled is not None:
        parts["relabelled"] = len(split.relabelled)
    total = sum(parts.values())
    sizes = {"users": split.n_users, "items": split.n_items, "interactions": total}
    return {**sizes, "density": total / (split.n_users * split.n_items), **parts}


def show(value: float) -> str:
    """Return a count with separators, or a share in percent."""
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.3f}%"
