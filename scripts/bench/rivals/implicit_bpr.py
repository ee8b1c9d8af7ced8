r"""Time an epoch of `implicit`'s BayesianPersonalizedRanking on our pairs, in its own environment.

    python3 -m venv /tmp/implicit_venv && /tmp/implicit_venv/bin/pip install implicit==0.7.3
    /tmp/implicit_venv/bin/python scripts/bench/rivals/implicit_bpr.py \
        pairs.npy n_users n_items --threads 2

(tried with implicit 0.7.3, numpy 2.4.6, scipy 1.17.1, Python 3.11). It does not do what we do, so
only the time of an epoch over N pairs compares: it is plain SGD, pair by pair and lock-free over
the threads, without Adam and without batches. Positives are drawn with replacement. The negative is
the item of a random *interaction*, so drawn by popularity; where the user knows it, the update is
skipped, not drawn again. `factors=63` plus its item bias makes 64 columns. It has no dynamic
sampling: `--sampler dns` is skipped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from typing import Any

import numpy as np


def measure(
    pairs: np.ndarray, n_users: int, n_items: int, threads: int, warmup: int, epochs: int
) -> dict[str, Any]:
    """Fit `warmup + epochs` iterations and return the median time of the last `epochs`."""
    import implicit
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    log = csr_matrix(
        (np.ones(len(pairs), dtype=np.float32), (pairs[:, 0], pairs[:, 1])),
        shape=(n_users, n_items),
    )
    model = BayesianPersonalizedRanking(
        factors=63,
        iterations=warmup + epochs,
        num_threads=threads,
        verify_negative_samples=True,
        random_state=0,
    )
    seconds: list[float] = []
    model.fit(
        log,
        show_progress=False,
        callback=lambda epoch, elapsed, correct, skipped: seconds.append(elapsed),
    )
    return {
        "seconds_per_epoch": statistics.median(seconds[warmup:]),
        "steps": log.nnz,  # one SGD update per pair
        "measured_epochs": epochs,
        "version": f"implicit {implicit.__version__}",
        "threads": threads,
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description="time an epoch of implicit's BPR")
    parser.add_argument("pairs", help=".npy file, [N, 2] rows (user, item)")
    parser.add_argument("n_users", type=int)
    parser.add_argument("n_items", type=int)
    parser.add_argument("--sampler", choices=("rns", "dns"), default="rns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="OpenBLAS")  # its BPR does not call BLAS
    try:
        import implicit.cpu.bpr  # noqa: F401
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        result = {"skipped": f"implicit cannot be imported by {sys.executable}: {reason}"}
    else:
        if args.sampler == "dns":
            result = {"skipped": "implicit has no dynamic negative sampling"}
        else:
            pairs = np.load(args.pairs)
            result = measure(
                pairs, args.n_users, args.n_items, args.threads, args.warmup, args.epochs
            )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
