"""Writing archives: adding finished runs, and merging two archives."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.runs.archive import RANK_COLUMNS, RUN_COLUMNS, Archive, open_archive
from hapens_bench.runs.files import DamagedRun, Files
from hapens_bench.runs.folder import RunFolder
from hapens_bench.runs.lock import hold

FEW = 40  # runs of a part that the next addition still takes into its own, so that parts do not become many
KINDS = ("epochs", "ranks", "runs")  # in the order in which they are written: a part counts with the last
QUANTILE = "_q"  # in the name of a hardness column that is kept at evaluations only


@dataclass
class Added:
    """What became of runs that were to be archived."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Parts(Files):
    """The files of an archive, each written whole or not at all."""

    def write(self, frames: dict[str, pd.DataFrame]) -> str:
        """Write a part; return its name, a hash of its runs file."""
        encoded = {kind: encode(frames[kind]) for kind in KINDS}
        part = hashlib.sha256(encoded["runs"]).hexdigest()[:12]
        for kind in KINDS:
            self._write(f"{kind}-{part}.parquet", encoded[kind])
        return part

    def write_users(self, frame: pd.DataFrame) -> str:
        """Write who has test items, and how many, unless that is there; return the name."""
        name = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()[:12]
        if not (self.path / f"users-{name}.parquet").exists():
            self._write(f"users-{name}.parquet", encode(frame))
        return name

    def remove(self, part: str) -> None:
        """Remove a part, the file that makes it count first."""
        for kind in reversed(KINDS):
            (self.path / f"{kind}-{part}.parquet").unlink(missing_ok=True)

    def remove_halves(self) -> None:
        """Remove what a kill left: temporary files, and parts without their runs file."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        for kind in ("epochs", "ranks"):
            for path in self.path.glob(f"{kind}-*.parquet"):
                if not (self.path / f"runs-{path.stem.removeprefix(f'{kind}-')}.parquet").exists():
                    path.unlink(missing_ok=True)


def encode(frame: pd.DataFrame) -> bytes:
    """Write a frame as parquet with zstd, compactly; the same frame gives the same bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd", compression_level=12)
    return buffer.getvalue()


def add(folders: Sequence[RunFolder], path: Path) -> Added:
    """Archive finished runs that are not archived yet; those that cannot be are named and left out.

    Raises:
        RunBusy: when another process writes to the archive.
    """
    path.mkdir(parents=True, exist_ok=True)
    added, parts = Added(), Parts(path)
    with hold(path):
        parts.remove_halves()
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
                    collected[kind].insert(0, Archive._read(path / f"{kind}-{small}.parquet"))
            part = parts.write({kind: together(collected[kind]) for kind in KINDS})
            if small is not None and small != part:
                parts.remove(small)
    return added


def smallest_part(archive: Archive) -> str | None:
    """Return a part that is small enough to be written anew, where there is one."""
    sizes: dict[str, int] = {}
    for row in archive.rows.values():
        sizes[row.part] = sizes.get(row.part, 0) + 1
    part = min(sizes, key=lambda name: (sizes[name], name), default=None)
    return part if part is not None and sizes[part] < FEW else None


def together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the rows of runs under each other, in the order of run ids."""
    filled = [frame for frame in frames if len(frame)] or list(frames[:1])
    return pd.concat(filled, ignore_index=True).sort_values("run_id", kind="stable").reset_index(drop=True)


def frames_of(folder: RunFolder, parts: Parts) -> dict[str, pd.DataFrame]:
    """Return a finished run's rows of each kind.

    Raises:
        DamagedRun: when the run is not finished, damaged, or from before ranks were written.
    """
    if not folder.is_done():
        raise DamagedRun("it is not finished, or damaged")
    status, summary, users = folder.read_status(), folder.read_summary(), folder.read_frame("users")
    if "relevant" not in users:
        raise DamagedRun("it has no ranks: it was trained before they were written; train it again")
    ranks, history = folder.read_frame("ranks"), folder.read_frame("history")
    name = folder.path.name
    first = users[users["selection"] == users["selection"].iloc[0]]
    who = first[["user", "relevant"]].astype("int32").reset_index(drop=True)
    row = {
        "run_id": name,
        "config": "".join(folder.config_sections()),
        "summary": json.dumps(summary, sort_keys=True),
        "crc32": json.dumps((status or {}).get("crc32", {}), sort_keys=True),
        "users": parts.write_users(who),
    }
    order = ["selection", "ranking", "user", "rank"]
    ranks = ranks.sort_values(order, kind="stable").astype({"user": "int32", "rank": "int16"})
    return {
        "runs": pd.DataFrame([row], columns=RUN_COLUMNS),
        "epochs": thinned(history).assign(run_id=name),
        "ranks": ranks.assign(run_id=name)[RANK_COLUMNS],
    }


def thinned(history: pd.DataFrame) -> pd.DataFrame:
    """Keep quantiles of hardness at evaluations only."""
    quantiles = [column for column in history if QUANTILE in column]
    kept = history.copy()
    kept.loc[~kept["evaluated"].astype(bool), quantiles] = float("nan")
    return kept


def merge(sources: Sequence[Path], path: Path) -> Archive:
    """Put archives together in another folder; the files are the same in whichever order they are named.

    A part whose runs all stand in other parts is left out.
    """
    path.mkdir(parents=True, exist_ok=True)
    with hold(path):
        for source in sources:
            for file in sorted(source.glob("*.parquet")):
                if not (path / file.name).exists():
                    shutil.copyfile(file, path / f".{file.name}.tmp")
                    (path / f".{file.name}.tmp").replace(path / file.name)
        parts = Parts(path)
        parts.remove_halves()
        for part in redundant(path):
            parts.remove(part)
    return open_archive(path)


def redundant(path: Path) -> list[str]:
    """Return the parts whose runs all stand in others that stay, small ones first."""
    ids = {
        file.stem.removeprefix("runs-"): set(Archive._read(file)["run_id"])
        for file in sorted(path.glob("runs-*.parquet"))
    }
    left = dict(ids)
    for part in sorted(ids, key=lambda name: (len(ids[name]), name)):
        others: set[Any] = set().union(*(held for name, held in left.items() if name != part))
        if left[part] <= others:
            del left[part]
    return [part for part in ids if part not in left]
