"""Archives: finished runs without their folders, small enough to be committed.

An archive is a folder of parquet files (zstd) in parts, which are written once:

    runs-<part>    a row a run: run_id, config (YAML), summary (JSON), crc32 of its files, users
    epochs-<part>  a row a run and epoch: the history, quantiles of hardness at evaluations only
    ranks-<part>   a row a hit: run_id, selection, ranking, user, rank from 0, up to the largest K
    users-<name>   a row a user with test items: user, relevant (how many); shared by runs

Ranks and counts give every metric again, bit for bit. A part counts once its `runs` file is there,
which is written last. A run that stands in several parts (two machines trained it) counts once.
Files hold texts and numbers only: nothing in them is executed or unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hapens_bench.config.identity import run_id
from hapens_bench.metrics import is_ours, of_ranks
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import SECTION, RunFolder, parse_config
from hapens_bench.runs.summary import check_summary, without_overall

RUN_COLUMNS = ["run_id", "config", "summary", "crc32", "users"]
RANK_COLUMNS = ["run_id", "selection", "ranking", "user", "rank"]
PLAIN = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
)


@dataclass(frozen=True)
class Row:
    """A run of an archive, as it stands in a part."""

    run_id: str
    config: str
    summary: dict[str, Any]
    crc32: dict[str, int]
    users: str
    part: str

    def read_config(self) -> dict[str, Any]:
        """Return the resolved config.

        Raises:
            DamagedRun: when it cannot be read.
        """
        return parse_config(SECTION.split(self.config))

    @cached_property
    def results(self) -> str:
        """What must be equal in two rows of one run: each selection's report, as text."""
        return json.dumps(without_overall(self.summary["selection"]), sort_keys=True)


class Archive:
    """The runs of one archive folder; epochs and ranks are read when they are first asked for.

    `rows` has the runs by their id. `skipped` names what cannot be read or is no run of ours;
    `conflicts` names runs of which two rows have different results (the first one counts).
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.skipped: list[str] = []
        self.conflicts: list[str] = []
        self.rows: dict[str, Row] = {}
        for part in sorted(self.path.glob("runs-*.parquet")):
            for row in self.rows_of(part):
                first = self.rows.setdefault(row.run_id, row)
                if first.results != row.results:
                    self.conflicts.append(
                        f"{self.path}: run {row.run_id} has other results in part {row.part} "
                        f"than in part {first.part}; the latter count"
                    )

    def rows_of(self, path: Path) -> Iterator[Row]:
        """Yield the rows of a `runs` file; what is no run of ours goes to `skipped`."""
        part = path.stem.removeprefix("runs-")
        try:
            records = read_plain(path)[RUN_COLUMNS].to_dict("records")
        except Exception as error:  # whatever a stranger's file brings about
            self.skipped.append(f"{path} cannot be read: {error}")
            return
        for place, record in enumerate(records):
            try:
                row = Row(
                    str(record["run_id"]),
                    str(record["config"]),
                    json.loads(record["summary"]),
                    json.loads(record["crc32"]),
                    str(record["users"]),
                    part,
                )
                check_row(row)
            except Exception as error:  # the same
                self.skipped.append(f"{path}, row {place}: {error}")
                continue
            yield row

    @property
    def n_bytes(self) -> int:
        """The size of its files."""
        return sum(path.stat().st_size for path in self.path.glob("*.parquet"))

    @lru_cache(maxsize=8)  # noqa: B019 - an archive lives as long as the process
    def _by_run(self, kind: str, part: str) -> dict[str, pd.DataFrame]:
        try:
            frame = read_plain(self.path / f"{kind}-{part}.parquet")
            groups = frame.groupby("run_id", sort=False)
            return {str(name): rows.drop(columns="run_id") for name, rows in groups}
        except Exception as error:
            raise DamagedRun(f"{kind}-{part}.parquet cannot be read: {error}") from error

    def table(self, kind: str, row: Row) -> pd.DataFrame:
        """Return a run's rows of `epochs` or `ranks`.

        Raises:
            DamagedRun: when the part cannot be read or lacks the run.
        """
        found = self._by_run(kind, row.part).get(row.run_id)
        if found is None and kind == "ranks":
            return pd.DataFrame(columns=RANK_COLUMNS[1:])  # a run without a single hit
        if found is None:
            raise DamagedRun(f"{kind}-{row.part}.parquet lacks run {row.run_id}")
        return found.dropna(axis=1, how="all").reset_index(drop=True)

    @lru_cache(maxsize=16)  # noqa: B019 - the same
    def relevant(self, name: str) -> pd.DataFrame:
        """Return the users with test items, and how many each has.

        Raises:
            DamagedRun: when the file cannot be read.
        """
        try:
            return read_plain(self.path / f"users-{name}.parquet")[["user", "relevant"]]
        except Exception as error:
            raise DamagedRun(f"users-{name}.parquet cannot be read: {error}") from error

    def users(self, row: Row) -> pd.DataFrame:
        """Return each user's test metrics by selection, computed from ranks.

        Metrics of a user's own are left out: an archive must not name code to run.

        Raises:
            DamagedRun: when a file cannot be read, or the ranks are no hits of these users.
        """
        ranks, counts = self.table("ranks", row), self.relevant(row.users)
        frames = []
        for selection, report in row.summary["selection"].items():
            try:
                own = ranks[ranks["selection"] == selection]
                values = of_ranks(own, counts, [name for name in report["test"] if is_ours(name)])
            except Exception as error:
                raise DamagedRun(f"the ranks of run {row.run_id} are damaged: {error}") from error
            columns = {"selection": selection, "user": counts["user"].to_numpy(), **values}
            frames.append(pd.DataFrame({**columns, "relevant": counts["relevant"].to_numpy()}))
        return pd.concat(frames, ignore_index=True)


def read_plain(path: Path) -> pd.DataFrame:
    """Return a parquet file of texts and plain numbers.

    Raises:
        ValueError: when a column holds anything else. OSError: when it cannot be read.
    """
    content = pa.BufferReader(path.read_bytes())
    table = pq.read_table(content, page_checksum_verification=True)
    for field in table.schema:
        if not any(accepts(field.type) for accepts in PLAIN):
            raise ValueError(f"its column {field.name} holds {field.type}, not texts or numbers")
    return table.to_pandas(ignore_metadata=True)


def check_row(row: Row) -> None:
    """Refuse a row that is no run of ours.

    Raises:
        DamagedRun: naming what is wrong.
    """
    config = row.read_config()
    if run_id(config) != row.run_id:
        raise DamagedRun(f"its config is not that of run {row.run_id}")
    check_summary(row.summary)
    same = all(row.summary[key] == config[key]["name"] for key in ("dataset", "model", "sampler"))
    if row.summary["run_id"] != row.run_id or row.summary["seed"] != config["seed"] or not same:
        raise DamagedRun(f"its summary is not that of run {row.run_id}")


class ArchivedRun(RunFolder):
    """A run of an archive, read as a run folder is; it cannot be written to."""

    def __init__(self, archive: Archive, row: Row) -> None:
        super().__init__(archive.path / row.run_id)
        self.archive, self.row = archive, row

    def config_sections(self) -> list[str]:
        """See `RunFolder.config_sections`."""
        return SECTION.split(self.row.config)

    def read_summary(self) -> dict[str, Any]:
        """See `RunFolder.read_summary`."""
        return dict(self.row.summary)

    def read_status(self) -> dict[str, Any]:
        """See `RunFolder.read_status`."""
        return {"state": "done", "reason": None, "crc32": self.row.crc32}

    def read_frame(self, name: str) -> pd.DataFrame:
        """See `RunFolder.read_frame`; `indicators` are not archived."""
        if name == "users":
            return self.archive.users(self.row)
        if name in ("history", "ranks"):
            return self.archive.table({"history": "epochs"}.get(name, name), self.row)
        raise DamagedRun(f"{name} are not archived")

    def read_arrays(self, name: str) -> dict[str, Any]:
        """See `RunFolder.read_arrays`; none are archived."""
        raise DamagedRun(f"{name}.npz is not archived")

    def is_done(self) -> bool:
        """See `RunFolder.is_done`."""
        return True


def archives_below(root: Path) -> list[Archive]:
    """Return the archives of a folder: itself, and each folder in it, that holds parts."""
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    return [open_archive(path) for path in folders if any(path.glob("runs-*.parquet"))]


def open_archive(path: Path) -> Archive:
    """Open an archive; it is read again once its parts have changed."""
    files = sorted(path.glob("*.parquet"))
    stamp = tuple((p.name, stat.st_size, stat.st_mtime_ns) for p in files if (stat := p.stat()))
    return _opened(str(path.resolve()), stamp)


@lru_cache(maxsize=32)
def _opened(path: str, stamp: tuple[tuple[str, int, int], ...]) -> Archive:
    return Archive(Path(path))


def archived(root: Path, wanted: str) -> ArchivedRun | None:
    """Return a run of the archives of a folder, where one holds it."""
    for archive in archives_below(root):
        if wanted in archive.rows:
            return ArchivedRun(archive, archive.rows[wanted])
    return None


def open_run(folder: str | Path) -> RunFolder:
    """Open what a ledger's `folder` names: a run folder, or a run of an archive."""
    path = Path(folder)
    if not path.exists() and any(path.parent.glob("runs-*.parquet")):
        archive = open_archive(path.parent)
        if path.name in archive.rows:
            return ArchivedRun(archive, archive.rows[path.name])
    return RunFolder(path)


def listed(run: RunFolder) -> dict[str, Any]:
    """Return a finished run's summary as a ledger lists it.

    It has the run's `folder`, and the name of its `archive` if it is in one.

    Raises:
        DamagedRun: when it cannot be read.
    """
    origin = {"archive": run.archive.path.name} if isinstance(run, ArchivedRun) else {}
    return {**run.read_summary(), "folder": str(run.path), **origin}


def summaries(archives: Sequence[Archive]) -> list[dict[str, Any]]:
    """Return all archived runs as a ledger lists them, a run once."""
    kept: dict[str, dict[str, Any]] = {}
    for archive in archives:
        for name, row in archive.rows.items():
            kept.setdefault(name, listed(ArchivedRun(archive, row)))
    return list(kept.values())
