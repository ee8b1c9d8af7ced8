"""Writing archives: adding finished runs, merging two archives, and run folders out of one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hapens_bench.runs.archive import (
    RANK_COLUMNS,
    RUN_COLUMNS,
    Archive,
    ArchivedRun,
    open_archive,
    read_plain,
)
from hapens_bench.runs.files import DamagedRun, Files
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.lock import hold

FEW = 40  # a part of fewer runs is written anew with the next ones, so that parts stay few
KINDS = ("epochs", "ranks", "runs")  # in the order in which they are written
QUANTILE = "_q"  # in the names of hardness columns that are kept at evaluations only
# Sections of a config that belong to the machine, not to the run.
OF_THE_MACHINE = ("paths", "logger", "resume", "archive")
# Users ascend within a selection, so their differences are small.
BY_DIFFERENCE = {"ranks": {"user": "DELTA_BINARY_PACKED"}, "users": {"user": "DELTA_BINARY_PACKED"}}


@dataclass
class Added:
    """What became of runs that were to be archived: ids, and for `refused` the reason too."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Parts(Files):
    """The files of an archive, each written whole or not at all."""

    def write(self, frames: Mapping[str, pd.DataFrame]) -> str:
        """Write a part; return its name, a hash of its content."""
        encoded = {kind: encode(kind, frames[kind]) for kind in KINDS}
        part = hashlib.sha256(b"".join(encoded.values())).hexdigest()[:12]
        for kind in KINDS:
            self._write(f"{kind}-{part}.parquet", encoded[kind])
        return part

    def write_users(self, frame: pd.DataFrame) -> str:
        """Write who has test items, and how many, unless that is there; return the name."""
        name = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()[:12]
        if not (self.path / f"users-{name}.parquet").exists():
            self._write(f"users-{name}.parquet", encode("users", frame))
        return name

    def remove(self, part: str) -> None:
        """Remove a part, the file that makes it count first."""
        for kind in reversed(KINDS):
            (self.path / f"{kind}-{part}.parquet").unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what a kill left, and parts whose runs all stand in other parts.

        A kill leaves temporary files, parts without their `runs` file, and a part beside the one
        that took it in.
        """
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        for kind in KINDS[:-1]:
            for path in self.path.glob(f"{kind}-*.parquet"):
                if not (self.path / f"runs-{path.stem.removeprefix(f'{kind}-')}.parquet").exists():
                    path.unlink(missing_ok=True)
        for part in redundant(open_archive(self.path)):
            self.remove(part)


def encode(kind: str, frame: pd.DataFrame) -> bytes:
    """Return a frame as parquet; the same frame gives the same bytes."""
    sink, special = pa.BufferOutputStream(), BY_DIFFERENCE.get(kind, {})
    pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None),
        sink,
        compression="zstd",
        compression_level=12,
        use_dictionary=[name for name in frame.columns if name not in special],
        column_encoding=special or None,
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def add(folders: Sequence[RunFolder], path: Path) -> Added:
    """Archive finished runs that are not there yet; those that cannot be are named and left out.

    Raises:
        RunBusy: when another process writes to the archive.
    """
    path.mkdir(parents=True, exist_ok=True)
    added, parts = Added(), Parts(path)
    with hold(path):
        parts.tidy()
        archive = open_archive(path)
        known = set(archive.rows)
        collected: dict[str, list[pd.DataFrame]] = {kind: [] for kind in KINDS}
        for folder in folders:
            name = folder.path.name
            if name in known:
                added.known.append(name)
                continue
            try:
                frames = frames_of(folder, parts)
            except (DamagedRun, KeyError, ValueError) as error:
                added.refused.append(f"{folder.path}: {error}")
                continue
            known.add(name)
            added.new.append(name)
            for kind in KINDS:
                collected[kind].append(frames[kind])
        if added.new:
            small = smallest_part(archive)
            if small is not None:
                for kind in KINDS:
                    collected[kind].insert(0, read_plain(path / f"{kind}-{small}.parquet"))
            part = parts.write({kind: together(collected[kind]) for kind in KINDS})
            if small is not None and small != part:
                parts.remove(small)
    return added


def smallest_part(archive: Archive) -> str | None:
    """Return the smallest part, if it is small enough to be written anew."""
    sizes: dict[str, int] = {}
    for row in archive.rows.values():
        sizes[row.part] = sizes.get(row.part, 0) + 1
    part = min(sizes, key=lambda name: (sizes[name], name), default=None)
    return part if part is not None and sizes[part] < FEW else None


def together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several runs under each other, in the order of run ids."""
    filled = [frame for frame in frames if len(frame)] or list(frames[:1])
    rows = pd.concat(filled, ignore_index=True)
    return rows.sort_values("run_id", kind="stable").reset_index(drop=True)


def frames_of(folder: RunFolder, parts: Parts) -> dict[str, pd.DataFrame]:
    """Return a finished run's rows of each kind.

    Raises:
        DamagedRun: when the run is not finished, damaged, or from before ranks were written.
    """
    if not folder.is_done():
        raise DamagedRun("it is not finished, or damaged")
    status, summary, users = folder.read_status(), folder.read_summary(), folder.read_frame("users")
    if "relevant" not in users:
        raise DamagedRun("it was trained before ranks were written; train it again (resume=force)")
    ranks, history = folder.read_frame("ranks"), folder.read_frame("history")
    name = folder.path.name
    first = users[users["selection"] == users["selection"].iloc[0]]
    who = first[["user", "relevant"]].astype("int32").reset_index(drop=True)
    row = {
        "run_id": name,
        "config": own_config(folder),
        "summary": json.dumps(summary),
        "crc32": json.dumps((status or {}).get("crc32", {}), sort_keys=True),
        "users": parts.write_users(who),
    }
    order = ["selection", "ranking", "user", "rank"]
    ranks = ranks.sort_values(order, kind="stable").astype({"user": "int32", "rank": "int32"})
    return {
        "runs": pd.DataFrame([row], columns=RUN_COLUMNS),
        "epochs": thinned(history).assign(run_id=name),
        "ranks": ranks.assign(run_id=name)[RANK_COLUMNS],
    }


def own_config(folder: RunFolder) -> str:
    """Return the text of a run's config without the sections that belong to the machine."""
    return "".join(
        section
        for section in folder.config_sections()
        if section.split(":")[0] not in OF_THE_MACHINE
    )


def thinned(history: pd.DataFrame) -> pd.DataFrame:
    """Return a history with quantiles of hardness at evaluations only."""
    quantiles = [column for column in history.columns if QUANTILE in str(column)]
    kept = history.copy()
    kept.loc[~kept["evaluated"].astype(bool), quantiles] = float("nan")
    return kept


def merge(sources: Sequence[Path], path: Path) -> Archive:
    """Put archives together in a folder; the files are the same in whichever order they are named.

    Parts that are not needed are left out (see `Parts.tidy`).

    Raises:
        RunBusy: when another process writes to the folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    with hold(path):
        for source in sources:
            # what makes a part count comes last
            for file in sorted(source.glob("*.parquet"), key=lambda p: p.stem.startswith("runs-")):
                if not (path / file.name).exists():
                    temporary = path / f".{file.name}.tmp"
                    shutil.copyfile(file, temporary)
                    temporary.replace(path / file.name)
        Parts(path).tidy()
    return open_archive(path)


def redundant(archive: Archive) -> list[str]:
    """Return the parts whose runs all stand, with equal results, in parts that stay.

    Small parts go first. A part that cannot be read stays.
    """
    left: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(archive.path.glob("runs-*.parquet")):
        if rows := {(row.run_id, row.results) for row in archive.rows_of(path)}:
            left[path.stem.removeprefix("runs-")] = rows
    dropped = []
    for part in sorted(left, key=lambda name: (len(left[name]), name)):
        others: set[Any] = set().union(*(rows for name, rows in left.items() if name != part))
        if left[part] <= others:
            del left[part]
            dropped.append(part)
    return dropped


def to_folder(run: ArchivedRun, runs: Path) -> RunFolder:
    """Write a run folder from an archived run; one that exists is left as it is.

    It lacks what is not archived: checkpoint, arrays, indicators, quantiles between evaluations.

    Raises:
        DamagedRun: when the archive cannot be read.
    """
    summary = run.read_summary()
    place = [summary[key] for key in ("dataset", "model", "sampler", "run_id")]
    folder = RunFolder(runs.joinpath(*place))
    if (folder.path / "status.json").exists():
        return folder
    with folder.lock():
        folder.write_config("".join(run.config_sections()))
        history = run.read_frame("history").to_dict("records")
        folder.write_history([{str(key): value for key, value in row.items()} for row in history])
        folder.write_users(run.read_frame("users"))
        folder.write_ranks(run.read_frame("ranks"))
        folder.write_summary(summary)
        folder.write_status("done")
    return folder
