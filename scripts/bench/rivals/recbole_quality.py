"""Train RecBole's BPR, or fit its EASE, for `quality.py`, in its own environment: make rivals.

    python recbole_quality.py FOLDER '{"setting": {"model": "BPR", "learning_rate": 0.001}, ...}'

BPR trains through RecBole's own data loader and trainer; EASE is fitted by its constructor.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import Clock, Job, Line, Stopped
from recbole_bpr import NAME, configured, old_names, prepared, write_files


class Ticking:
    """A loader that ticks a clock after each batch."""

    def __init__(self, loader: Any, clock: Clock) -> None:
        self.loader, self.clock, self.done = loader, clock, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            self.done += 1
            self.clock.tick(self.done / len(self.loader))


def train(line: Any, config: Any, begun: float, n_users: int, n_items: int) -> None:
    train_data, model, trainer = prepared(config)
    dataset = train_data.dataset
    places = [
        dataset.token2id(field, [str(n) for n in range(count)])
        for field, count in ((dataset.uid_field, n_users), (dataset.iid_field, n_items))
    ]

    def arrays() -> dict[str, np.ndarray]:
        tables = model.user_embedding.weight, model.item_embedding.weight
        return {
            name: table.detach().numpy()[at]
            for name, table, at in zip(("user", "item"), tables, places)
        }

    clock = line(time.perf_counter() - begun).clock(arrays)
    loader = Ticking(train_data, clock)
    clock.start()
    epoch = 0
    while True:
        trainer._train_epoch(loader, epoch)
        epoch += 1


def fit(line: Any, config: Any, begun: float, n_users: int, n_items: int) -> None:
    from recbole.data import create_dataset
    from recbole.model.general_recommender import EASE

    dataset = create_dataset(config)
    dataset = dataset.build()[0]
    fitted: list[Any] = []

    def arrays() -> dict[str, np.ndarray]:
        at = dataset.token2id(dataset.iid_field, [str(n) for n in range(n_items)])
        return {"weights": np.asarray(fitted[0].item_similarity)[np.ix_(at, at)]}

    clock = line(time.perf_counter() - begun).clock(arrays)
    clock.start()
    fitted.append(EASE(config, dataset))
    clock.tick(1, at_once=True)


def main() -> None:
    job = Job(sys.argv)
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    old_names()
    import recbole

    version = f"recbole {recbole.__version__}, torch {torch.__version__}"
    torch.set_num_threads(job.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # RecBole leaves a folder of TensorBoard logs where it runs
        write_files(Path(scratch) / NAME, job.pairs, *job.sizes)
        name = job.setting.pop("model")
        begun = time.perf_counter()
        config = configured(Path(scratch), name, "rns", **job.setting)
        with contextlib.suppress(Stopped):
            (fit if name == "EASE" else train)(
                lambda seconds: Line(job, seconds, version), config, begun, *job.sizes
            )
        os.chdir("/")


if __name__ == "__main__":
    main()
