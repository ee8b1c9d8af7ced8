"""`hapens data list | fetch | verify | stats`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.data.interactions import Split
from hapens_bench.data.load import choose_source, keeps_split, load, named_source
from hapens_bench.data.sources import (
    SourceFile,
    cache_dir,
    checksums,
    fetch_file,
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

    action("list", "the data sets, their sources, and which files are on this machine", run_list)
    fetch = action("fetch", "download a data set's files", run_fetch)
    fetch.add_argument("name")
    fetch.add_argument("--source", help="source to use (default: author, else dataset.source)")
    action(
        "verify", "check the files on this machine against their checksums", run_verify
    ).add_argument("name", nargs="?")
    stats = action("stats", "sizes beside the paper's, and the differences", run_stats)
    stats.add_argument("name")
    stats.add_argument(
        "overrides",
        nargs="*",
        help="as for hapens train, such as protocol=sdns (default: protocol=ahns)",
    )


def names() -> list[str]:
    """Return the names of all data sets."""
    return sorted(path.stem for path in (conf_dir() / "dataset").glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """Read a data set's YAML.

    Raises:
        UserError: when no data set has that name.
    """
    if name not in names():
        raise UserError(
            f"there is no data set {name!r}; choose one of {', '.join(names())}"
            + did_you_mean(name, names())
        )
    config = OmegaConf.to_container(OmegaConf.load(conf_dir() / "dataset" / f"{name}.yaml"))
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def files(dataset: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], SourceFile]]:
    """Yield each file of each source of a data set, with the source's name and section."""
    for variant, source in dataset.get("sources", {}).items():
        for section in source["files"].values():
            yield variant, source, SourceFile(**section)


def run_list(arguments: argparse.Namespace) -> int:
    """Print every data set with its sources."""
    table = Table("data set", "source", "files", "here", "terms")
    for name in names():
        dataset = read(name)
        if "sources" not in dataset:
            table.add_row(name, "generated", "–", "always", "–")
        for variant, source in dataset.get("sources", {}).items():
            parts = [SourceFile(**section) for section in source["files"].values()]
            here = all(find_file(file, cache_dir(), mirror_dir()) for file in parts)
            where = "" if parts[0].url else " (by hand)"
            table.add_row(
                name,
                variant,
                ", ".join(p.name for p in parts) + where,
                "yes" if here else "no",
                source["licence"],
            )
    CONSOLE.print(table)
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download the files of one source of a data set, by default those of a paper's authors."""
    dataset = read(arguments.name)
    if "sources" not in dataset:
        CONSOLE.print(f"{arguments.name} is generated; there is nothing to fetch")
        return 0
    name = arguments.source or ("author" if "author" in dataset["sources"] else dataset["source"])
    for section in named_source(dataset, name)["files"].values():
        CONSOLE.print(
            str(fetch_file(SourceFile(**section), cache_dir(), mirror_dir())), soft_wrap=True
        )
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Hash the files on this machine; return 1 if one of them is wrong."""
    wrong = 0
    table = Table("data set", "source", "file", "state")
    for name in [arguments.name] if arguments.name else names():
        for variant, _, file in files(read(name)):
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
    read(arguments.name)
    config = compose_config([f"dataset={arguments.name}", *arguments.overrides])
    protocol = config["protocol"]
    split = load(config["dataset"], protocol, cache_dir(), mirror_dir())
    dataset = config["dataset"]
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
