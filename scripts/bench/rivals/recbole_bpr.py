r"""Time an epoch of RecBole's BPR or LightGCN on our pairs, in its own environment.

    python3 -m venv /tmp/recbole_venv
    /tmp/recbole_venv/bin/pip install torch==2.13.0
    /tmp/recbole_venv/bin/pip install --no-deps recbole==1.2.1 thop
    /tmp/recbole_venv/bin/pip install numpy pandas scipy scikit-learn pyyaml tqdm colorlog \
        colorama tabulate tensorboard texttable plotly psutil
    /tmp/recbole_venv/bin/python scripts/bench/rivals/recbole_bpr.py pairs.npy n_users n_items \
        --sampler dns --threads 2

(tried with numpy 2.4.6, pandas 3.1.1, scipy 1.17.1, Python 3.11). D = 64, L = 3, B = 2048, CPU.
`--no-deps` leaves out ray, which only RecBole's tuner imports, and the pins of an old colorlog and
colorama; pip's complaints can be ignored. One patch, `old_names`, is all that numpy 2 and scipy
1.17 need on this path; RecBole's evaluation was not tried.

`rns` draws one uniform negative per pair, `dns` keeps the best scored of 32 (RecBole's `dynamic`
sampling). What is timed is RecBole's own path: its TrainDataLoader (which draws) under
`Trainer._train_epoch`, after `--warmup` batches, either a whole epoch or `--batches` of it,
shuffling included, scaled by pairs. All pairs are training pairs: they are the `train` part of a
benchmark split, whose `valid` part only names every user and item, so that the tables have all
rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import dok_matrix

NAME = "pairs"
SAMPLING = {
    "rns": {
        "distribution": "uniform",
        "sample_num": 1,
        "alpha": 1.0,
        "dynamic": False,
        "candidate_num": 0,
    },
    "dns": {
        "distribution": "uniform",
        "sample_num": 1,
        "alpha": 1.0,
        "dynamic": True,
        "candidate_num": 32,
    },
}


class FirstBatches:
    """The first n batches of a loader, as a loader that counts the pairs it yields."""

    def __init__(self, loader: Any, n: int | None) -> None:
        self.loader, self.n = loader, n
        self.batches = self.pairs = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in islice(self.loader, self.n):
            self.batches += 1
            self.pairs += len(batch)
            yield batch


def write_files(folder: Path, pairs: np.ndarray, n_users: int, n_items: int) -> None:
    """Write the atomic files of a benchmark split.

    All pairs are train; the rows of `valid` name every user and every item.
    """
    everyone = np.arange(max(n_users, n_items))
    parts = {
        "train": pairs,
        "valid": np.stack([everyone % n_users, everyone % n_items], 1),
        "test": pairs[:1],
    }
    folder.mkdir(parents=True)
    for part, rows in parts.items():
        header = "user_id:token\titem_id:token"
        np.savetxt(
            folder / f"{NAME}.{part}.inter",
            rows,
            fmt="%d",
            delimiter="\t",
            header=header,
            comments="",
        )


def old_names() -> None:
    """Restore the numpy names that RecBole 1.2.1 looks up, and the scipy one of its LightGCN."""
    for old, new in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        if not hasattr(np, old):
            setattr(np, old, new)
    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)


def configured(folder: Path, name: str, sampler: str, **more: Any) -> Any:
    """Return RecBole's configuration for the files under `folder`, seeded."""
    from recbole.config import Config
    from recbole.utils import init_seed

    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": 64,
        **({"n_layers": 3} if name == "LightGCN" else {}),
        "train_batch_size": 2048,
        **({} if name == "EASE" else {"train_neg_sample_args": SAMPLING[sampler]}),
        "use_gpu": False,
        "show_progress": False,
        **more,
    }
    config = Config(model=name, dataset=NAME, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    return config


def prepared(config: Any) -> tuple[Any, Any, Any]:
    """Return RecBole's train loader, model and trainer."""
    from recbole.data import create_dataset, data_preparation
    from recbole.model import general_recommender
    from recbole.trainer import Trainer

    train_data = data_preparation(config, create_dataset(config))[0]
    model = getattr(general_recommender, config["model"])(config, train_data.dataset)
    trainer = Trainer(config, model)
    train_data.get_model(model)  # as Trainer.fit does; the dynamic sampler scores with it
    return train_data, model, trainer


def measure(
    folder: Path, name: str, sampler: str, threads: int, warmup: int, batches: int | None
) -> dict[str, Any]:
    """Time RecBole's training loop on the files under `folder`."""
    import recbole

    train_data, model, trainer = prepared(configured(folder, name, sampler))
    torch.set_num_threads(threads)
    trainer._train_epoch(FirstBatches(train_data, warmup), 0)
    timed = FirstBatches(train_data, batches)
    begin = time.perf_counter()
    trainer._train_epoch(timed, 1)
    seconds = time.perf_counter() - begin
    return {
        "seconds_per_epoch": seconds * len(train_data.dataset) / timed.pairs,
        "steps": len(train_data),
        "measured_steps": timed.batches,
        "version": f"recbole {recbole.__version__}, torch {torch.__version__}, "
        f"numpy {np.__version__}",
        "threads": threads,
        "rows": [model.n_users, model.n_items],  # with RecBole's padding row
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description="time an epoch of RecBole's BPR or LightGCN")
    parser.add_argument("pairs", help=".npy file, [N, 2] rows (user, item)")
    parser.add_argument("n_users", type=int)
    parser.add_argument("n_items", type=int)
    parser.add_argument("--model", choices=("BPR", "LightGCN"), default="BPR")
    parser.add_argument("--sampler", choices=tuple(SAMPLING), default="rns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=10, help="batches before the clock starts")
    parser.add_argument("--batches", type=int, help="batches to time (default: a whole epoch)")
    args = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    old_names()
    pairs = np.load(args.pairs)
    try:
        import recbole.trainer  # noqa: F401
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        skipped = f"RecBole cannot be imported by {sys.executable}: {reason}"
        print(json.dumps({"skipped": skipped}))
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(scratch)  # RecBole leaves a folder of TensorBoard logs where it runs
        write_files(Path(scratch) / NAME, pairs, args.n_users, args.n_items)
        result = measure(
            Path(scratch), args.model, args.sampler, args.threads, args.warmup, args.batches
        )
        os.chdir("/")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
