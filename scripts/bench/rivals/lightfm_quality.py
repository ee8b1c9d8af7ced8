"""Train LightFM's WARP for `quality.py`, in its own environment: make rivals.

    python lightfm_quality.py FOLDER '{"setting": {"learning_rate": 0.05}, ...}'

An item bias makes 64 columns of 63 factors; users' biases change no list.
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np
from clock import Arrays, Job, Line, Stopped


def main() -> None:
    job = Job(sys.argv)
    import lightfm
    from scipy.sparse import coo_matrix

    def matrix(pairs: np.ndarray, shape: tuple[int, int]) -> coo_matrix:
        rows, columns = (np.ascontiguousarray(ids, np.int32) for ids in pairs.T)
        return coo_matrix((np.ones(len(pairs), np.float32), (rows, columns)), shape=shape)

    def build() -> lightfm.LightFM:
        return lightfm.LightFM(no_components=63, loss="warp", random_state=0, **job.setting)

    few = np.unique(np.random.default_rng(0).integers(0, 100, (500, 2)), axis=0)
    build().fit_partial(matrix(few, (100, 100)), num_threads=job.threads)
    begun = time.perf_counter()
    log, model = matrix(job.pairs, job.sizes), build()

    def arrays() -> Arrays:
        users, biases = model.user_embeddings, model.item_biases[:, None]
        return {
            "user": np.concatenate([users, np.ones_like(users[:, :1])], 1),
            "item": np.concatenate([model.item_embeddings, biases], 1),
        }

    line = Line(job, time.perf_counter() - begun, f"lightfm {lightfm.__version__}")
    clock = line.clock(arrays)
    try:
        clock.start()
        for epochs in itertools.count(1):
            model.fit_partial(log, num_threads=job.threads)
            clock.tick(epochs)
    except Stopped:
        pass


if __name__ == "__main__":
    main()
