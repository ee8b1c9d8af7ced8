"""Measure the pool: exact candidates against a loop of `random.choice` with rejection, side by side in one run.

    HAPENS_MIRROR=../shared/data python scripts/bench/pool.py [dataset ...]

Prints nanoseconds a candidate and the ratio to the plain loop; medians of interleaved rounds.
"""

import random
import statistics
import sys
import time

import numpy as np
import torch

from hapens_bench.config import compose_config
from hapens_bench.launch.job import load_split
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.pool import Positives, draw_pool

B, M, ROUNDS = 2048, 32, 7


def plain_loop(users: list[int], known: dict[int, set[int]], n_items: int) -> None:
    """The usual way: choose, look, choose again."""
    items = range(n_items)
    for user in users:
        for _ in range(M):
            while True:
                item = random.choice(items)
                if item not in known[user]:
                    break


def main() -> None:
    for name in sys.argv[1:] or ["planted"]:
        split = load_split(compose_config([f"dataset={name}"]))
        pairs = split.full_train
        known: dict[int, set[int]] = {u: set() for u in range(split.n_users)}
        for user, item in pairs.tolist():
            known[user].add(item)
        ways = {
            "bitmap": Positives(pairs, split.n_users, split.n_items),
            "binary search": Positives(pairs, split.n_users, split.n_items, bitmap_bytes=0),
        }
        times: dict[str, list[float]] = {"plain loop": [], **{way: [] for way in ways}}
        streams = Streams([0], Purpose.POOL)
        for k in range(ROUNDS):
            users = torch.from_numpy(pairs[np.random.default_rng(k).integers(0, len(pairs), B), 0])[None]
            for way, positives in ways.items():
                begun = time.perf_counter()
                draw_pool(positives, users, M, streams, k * B * M)
                times[way].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            plain_loop(users[0].tolist(), known, split.n_items)
            times["plain loop"].append(time.perf_counter() - begun)
        base = statistics.median(times["plain loop"])
        print(f"{name}: {split.n_users} users, {split.n_items} items; B={B}, M={M}, {torch.get_num_threads()} threads")
        for way, taken in times.items():
            middle = statistics.median(taken)
            print(f"  {way:14} {1e9 * middle / (B * M):8.1f} ns a candidate   {base / middle:6.1f} x the plain loop")


if __name__ == "__main__":
    main()
