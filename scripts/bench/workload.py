"""The workload to measure: our own training and ranking on a data set, step by step."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from hapens_bench.config.compose import compose_config, once_for_each_choice, unresolved
from hapens_bench.data.interactions import Split
from hapens_bench.evaluation.ranking import Ranking
from hapens_bench.launch.job import load_split
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import draw_pool
from hapens_bench.training.stage import Stage, ranking

METRICS = ",".join(
    f"{kind}@{K}" for kind in ("Recall", "NDCG", "Precision", "HitRate", "MRR") for K in (20, 50)
)


class Ours:
    """T trials of one setting on one split; `step` and `epoch` train, `rank` evaluates."""

    def __init__(
        self,
        split: Split,
        overrides: list[str],
        T: int = 1,
        device: str = "cpu",
        engine: str = "auto",
    ) -> None:
        common = [
            "tuned=none",
            "trainer.epochs=1000000",
            f"trainer.engine={engine}",
            f"protocol.metrics=[{METRICS}]",
        ]
        composed = once_for_each_choice(unresolved)
        configs = [composed([*common, *overrides, f"seed={t}"]) for t in range(T)]
        self.split, self.device, self.config = split, torch.device(device), configs[0]
        stage = Stage("full", configs[0], split, self.device)
        self.positives, self.pack = stage.positives, stage.pack(configs)
        self.loop = stage.loop(self.pack)
        self.done = 0

    def epoch(self) -> float:
        """Train an epoch, shuffling and hardness included; return its seconds."""
        begun = self.now()
        self.loop.run(self.done)
        self.done += 1
        return self.now() - begun

    def steps(self, n: int) -> float:
        """Train n steps of whole batches, across epochs; return the seconds of one step."""
        if not self.done:
            self.epoch_of(1)
        loop, whole = self.loop, self.loop.train.shape[1] // self.loop.B
        loop.k.zero_()
        begun = self.now()
        for k in range(n):
            place = k % whole
            if k and not place:
                loop.epoch += 1
                loop.k.zero_()
            if loop.graph:
                loop.graph.replay()
            else:
                loop.step(slice(place * loop.B, (place + 1) * loop.B))
        return (self.now() - begun) / n

    def epoch_of(self, n: int) -> None:
        """Train an epoch of n steps, after which everything is compiled."""
        whole, self.loop.n_steps = self.loop.n_steps, n
        self.epoch()
        self.loop.n_steps = whole

    def now(self) -> float:
        """Return the time once the device has finished all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def stages(self) -> dict[str, Callable[[], object]]:
        """Return the parts of a step as functions to time alone, on a fixed batch."""
        pack, loop = self.pack, self.loop
        index = torch.randint(0, loop.train.shape[1], (pack.size, loop.B), device=self.device)
        zero = torch.zeros((), dtype=torch.int64, device=self.device)
        batch = Batch(*loop.train[:, index], zero, zero, 10)
        M = pack.sampler.pool_size
        pool = draw_pool(self.positives, batch.users, M, pack.pool_streams, 0)
        encoded = pack.model.encode()
        items = pack.sampler.draw(batch, encoded.detach(), pool, pack.sampler_streams).items

        def backward() -> None:
            positive, negative, squares = encoded.pairs(batch.users, batch.items, items)
            (pack.loss(positive, negative).mean(-1) + pack.l2 * squares.mean(-1)).sum().backward()

        return {
            "pool": lambda: draw_pool(self.positives, batch.users, M, pack.pool_streams, 0),
            "sampler": lambda: pack.sampler.draw(
                batch, encoded.detach(), pool, pack.sampler_streams
            ),
            "loss and gradient": backward,
            "Adam": lambda: (backward(), pack.optimizer.step()),
            "hardness": lambda: loop.meter.add(batch.users, *self._scores(batch, items), items),
        }

    def _scores(self, batch: Batch, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        score = self.pack.model.encode().score
        return score(batch.users, batch.items[..., None]).squeeze(-1), score(batch.users, items)

    def ranking(self) -> Ranking:
        """Prepare the ranking of the test users, five metrics at two cut-offs."""
        return ranking(self.config, self.split, self.device)

    def rank(self, ranking: Ranking, T: int = 1) -> float:
        """Rank for all test users of the first T trials; return the seconds."""
        model = self.pack.model.encode().detach()
        begun = self.now()
        ranking.evaluate(model.queries[:T], model.items[:T])
        return self.now() - begun


def other(name: str, split: Split, *options: str) -> float | str:
    """Time an epoch of another library in its own environment; return a reason if it cannot."""
    python = Path(f".venv-{name}/bin/python")
    if not python.exists():
        return f"{python} is missing: make rivals"
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/pairs.npy", split.full_train)
        sizes = [f"{folder}/pairs.npy", str(split.n_users), str(split.n_items)]
        script = str(Path(__file__).parent / "rivals" / f"{name}_bpr.py")
        command = [str(python), script, *sizes, *options, "--threads", str(torch.get_num_threads())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return f"failed: {done.stderr.strip()[-200:]}"
    return answer.get("skipped") or float(answer["seconds_per_epoch"])


def real(name: str) -> Split:
    """Load a data set as the suite does."""
    return load_split(compose_config([f"dataset={name}"]))


def synthetic(users: int, items: int, n: int) -> Split:
    """Return a split of n distinct random pairs; a hundredth of them are test pairs."""
    generator = np.random.default_rng(0)
    keys = np.unique(generator.integers(0, users * items, int(1.05 * n)))
    pairs = np.stack(np.divmod(generator.permutation(keys)[:n], items), 1).astype(np.int64)
    nothing = np.empty((0, 2), dtype=np.int64)
    return Split("synthetic", users, items, pairs[n // 100 :], nothing, pairs[: n // 100])


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Time several ways in turn, round by round, so that other load hits all alike.

    Return the median seconds of each.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def timed(
    work: Callable[[], object], now: Callable[[], float] = time.perf_counter, n: int = 1
) -> Callable[[], float]:
    """Return a way for `interleaved` that takes the mean seconds of n calls."""

    def way() -> float:
        begun = now()
        for _ in range(n):
            work()
        return (now() - begun) / n

    return way
