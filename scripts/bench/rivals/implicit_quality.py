"""Train implicit's BPR or ALS for `quality.py`, in its own environment: make rivals.

    python implicit_quality.py FOLDER '{"setting": {"model": "als", "alpha": 20}, ...}'

BPR: an item bias makes 64 columns of 63 factors. The initial values and the matrix by items are
made in `fit`, so the clock has them.
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings

import numpy as np
from clock import Job, Line, Stopped


def main() -> None:
    job = Job(sys.argv)
    warnings.filterwarnings("ignore", message="OpenBLAS")
    import implicit
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    classes = {"als": (AlternatingLeastSquares, 64), "bpr": (BayesianPersonalizedRanking, 63)}
    cls, factors = classes[job.setting.pop("model")]
    common = {"factors": factors, "num_threads": job.threads, "random_state": 0}

    def matrix(pairs: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
        return csr_matrix((np.ones(len(pairs), np.float32), tuple(pairs.T)), shape=shape)

    few = np.unique(np.random.default_rng(0).integers(0, 100, (500, 2)), axis=0)
    warm = cls(iterations=1, **common, **job.setting)
    warm.fit(matrix(few, (100, 100)), show_progress=False)
    begun = time.perf_counter()
    log = matrix(job.pairs, job.sizes)
    model = cls(iterations=10**9, **common, **job.setting)
    line = Line(job, time.perf_counter() - begun, f"implicit {implicit.__version__}")
    clock = line.clock(lambda: {"user": model.user_factors, "item": model.item_factors})
    epochs = itertools.count(1)
    try:
        clock.start()
        model.fit(log, show_progress=False, callback=lambda *_: clock.tick(next(epochs)))
    except Stopped:
        pass


if __name__ == "__main__":
    main()
