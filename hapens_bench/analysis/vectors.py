"""What a run has learnt: vectors of its users and items, and what it would recommend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hapens_bench.analysis.rerun import rerun_command
from hapens_bench.data.interactions import Ids, Split
from hapens_bench.data.load import load
from hapens_bench.errors import UserError
from hapens_bench.models.fitted import is_fitted
from hapens_bench.runs.files import DamagedRun
from hapens_bench.runs.folder import RunFolder


@dataclass(frozen=True)
class Vectors:
    """The vectors at the epoch chosen by `valid`; a score is an inner product of two of them.

    Shape:
        users: [U, D]; items: [I, D]; user_ids: [U], item_ids: [I] text, as in the files.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    user_ids: Ids
    item_ids: Ids
    split: Split


def read_vectors(run: Mapping[str, Any], cache: Path, mirror: Path | None) -> Vectors:
    """Return the vectors of a finished run, with the ids of its data.

    Raises:
        UserError: when the run kept no vectors, or its data are not what they were.
    """
    folder = RunFolder(Path(run["folder"]))
    try:
        config = folder.read_config()
        if is_fitted(config):
            raise UserError(
                f"run {run['run_id']} is of model={config['model']['name']}, which keeps no vectors"
            )
        if not config["trainer"].get("best_model"):
            raise UserError(
                f"run {run['run_id']} kept no vectors; train it with trainer.best_model=true: "
                f"{rerun_command(config)} seed={config['seed']} trainer.best_model=true"
            )
        arrays = folder.read_arrays("model")
    except DamagedRun as error:
        raise UserError(f"{folder.path}: {error}") from None
    split = load(config["dataset"], config["protocol"], cache, mirror)
    if split.data_hash != run["data_hash"]:
        raise UserError(
            f"run {run['run_id']} was trained on data with hash {run['data_hash']}, "
            f"but {config['dataset']['name']} has {split.data_hash} now"
        )
    return Vectors(arrays["users"], arrays["items"], *split.called(), split)


def recommend(vectors: Vectors, users: Sequence[str] | None, k: int) -> pd.DataFrame:
    """Return the k best items of each user that are in none of her pairs: user, rank, item, score.

    `users` are ids as in the files; None takes all users. Equal scores rank by ascending number of
    the item; a score that is not a number is left out.

    Raises:
        UserError: when k is below 1, or a user is not among those trained on.
    """
    if k < 1:
        raise UserError(f"-k is {k}, but it takes a whole number from 1")
    numbers = {name: number for number, name in enumerate(vectors.user_ids)}
    for name in users or ():
        if name not in numbers:
            raise UserError(
                f"there is no user {name!r} among the {len(numbers):,} of {vectors.split.name}; "
                "the filters of its protocol may have dropped it"
            )
    split = vectors.split
    known = np.concatenate([split.train, split.valid, split.test])
    known = known[np.argsort(known[:, 0], kind="stable")]
    begin = np.searchsorted(known[:, 0], np.arange(split.n_users + 1))
    rows = []
    for name in vectors.user_ids if users is None else users:
        user = numbers[name]
        scores = vectors.items @ vectors.users[user]
        scores[known[begin[user] : begin[user + 1], 1]] = -np.inf
        best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:k]
        best = best[scores[best] > -np.inf]
        rows.append(
            pd.DataFrame(
                {
                    "user": name,
                    "rank": np.arange(1, len(best) + 1),
                    "item": vectors.item_ids[best],
                    "score": scores[best],
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def write_vectors(vectors: Vectors, path: Path) -> None:
    """Write the vectors with their ids to a .npz file, or to a .parquet file with a row for each.

    The npz file has the arrays users, items, user_ids and item_ids, and needs no pickle. The
    columns of the parquet file are kind (user or item), id and vector.

    Raises:
        UserError: for another ending, or a place that cannot be written.
    """
    if path.suffix not in (".npz", ".parquet"):
        raise UserError(
            f"{path} ends in {path.suffix!r}, but vectors are written to .npz or .parquet"
        )
    parts = {"user": (vectors.user_ids, vectors.users), "item": (vectors.item_ids, vectors.items)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            arrays = {f"{kind}s": rows for kind, (_, rows) in parts.items()}
            ids = {f"{kind}_ids": names.astype(str) for kind, (names, _) in parts.items()}
            np.savez(path, allow_pickle=False, **arrays, **ids)
        else:
            frames = (
                pd.DataFrame({"kind": kind, "id": ids, "vector": list(rows)})
                for kind, (ids, rows) in parts.items()
            )
            pd.concat(frames, ignore_index=True).to_parquet(path, index=False)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from None
