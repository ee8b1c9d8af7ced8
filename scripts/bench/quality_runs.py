"""One run of `quality.py`: a system with one setting, trained until its quality is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from workload import real, synthetic

from hapens_bench.config.compose import compose_config
from hapens_bench.data.interactions import Split
from hapens_bench.models.fitted import is_fitted, train_matrix
from hapens_bench.runs import ledger
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.fitting import FitStage
from hapens_bench.training.stage import Stage, ranking, train_pairs

RIVALS = Path(__file__).parent / "rivals"
sys.path.insert(0, str(RIVALS))
from clock import Clock, Stopped  # noqa: E402 - of the folder that rivals share with us

CPU = torch.device("cpu")
METRIC = "Recall@20"
COMMON = ["protocol=ahns", "tuned=none", "trainer.epochs=1000000", f"protocol.metrics=[{METRIC}]"]
# Rivals wait for their threads as they do by default; how numpy's own BLAS is chosen is theirs.
OURS_ALONE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_CBWR", "OPENBLAS_CORETYPE")
Vectors = Mapping[str, np.ndarray]


@dataclass
class Goal:
    """A quality to reach on a data set, and how it is measured.

    `stage` is `full` (train on train and validation part, measure on test) or `held` (train on the
    train part, measure on validation). `quality` is what RNS on MF converges to there, in the
    archived runs of the paper's settings: the mean over seeds of each one's best epoch.
    """

    dataset: str
    stage: str
    split: Split = field(init=False)
    quality: float = field(init=False)

    def __post_init__(self) -> None:
        config = compose_config([f"dataset={self.dataset}", *COMMON])
        self.split = real(self.dataset)
        self.pairs = train_pairs(self.stage, config["protocol"], self.split)
        self.ranking = ranking(config, self.split, CPU, self.stage)
        runs = ledger.load(None, Path("results/archive")).runs
        wanted = {"dataset": self.dataset, "protocol": "ahns", "model": "mf", "sampler": "rns"}
        runs = [run for run in runs if wanted.items() <= run.items()]
        column = f"{'test' if self.stage == 'full' else 'valid'}/{METRIC}"
        self.quality = ledger.epochs(runs).groupby("run_id")[column].max().mean()

    def of(self, vectors: Vectors) -> float:
        """Return the quality of user and item vectors, or of item-item weights."""
        if "weights" in vectors:
            X, W = train_matrix(self.pairs, self.split.n_users, self.split.n_items), vectors
            found = self.ranking.evaluate_scores(
                lambda users: torch.from_numpy(X[users.numpy()] @ W["weights"])
            )
        else:
            tables = (torch.from_numpy(vectors[name])[None] for name in ("user", "item"))
            (found,) = self.ranking.evaluate(*tables)
        return float(found.values[METRIC].mean())


@dataclass
class Run:
    """What a run was measured at: rows of seconds, cpu, epochs and quality."""

    goal: Goal
    done: Callable[[Run], bool]
    growth: float
    curve: list[dict[str, float]] = field(default_factory=list)
    setup: float = 0.0
    version: str = ""

    def add(self, quality: float, **at: float) -> bool:
        """Note a measurement; return whether the run goes on."""
        self.curve.append({**at, "quality": quality})
        return not self.done(self)

    def first(self, share: float) -> dict[str, float] | None:
        """Return the row that first reached a share of the goal's quality."""
        reached = (row for row in self.curve if row["quality"] >= share * self.goal.quality)
        return next(reached, None)

    @property
    def best(self) -> float:
        """The best quality so far."""
        return max((row["quality"] for row in self.curve), default=0.0)


def ours(run: Run, overrides: list[str]) -> None:
    """Train one of the suite's samplers, or fit one of its models, as its trainer does."""
    goal = run.goal
    config = compose_config([f"dataset={goal.dataset}", *COMMON, *overrides])
    _train(config, "full", synthetic(200, 200, 3000), lambda *_: _once())

    def report(clock: Clock, epochs: float, quality: Callable[[], float]) -> None:
        at = {"seconds": clock.seconds, "cpu": clock.cpu, "epochs": epochs}
        if not run.add(quality(), **at):
            raise Stopped

    def begin(setup: float, quality: Callable[[], float]) -> Clock:
        run.setup = setup
        return Clock(lambda clock, epochs: report(clock, epochs, quality), run.growth)

    _train(config, goal.stage, goal.split, begin, goal)


def _once() -> Clock:
    """Return the clock of a run of one epoch, after which everything is loaded."""

    def report(clock: Clock, epochs: float) -> None:
        if epochs >= 1:
            raise Stopped

    clock = Clock(report, growth=1)
    clock.due = 0.0
    return clock


def _train(
    config: Mapping[str, Any],
    name: str,
    split: Split,
    begin: Callable[[float, Callable[[], float]], Clock],
    goal: Goal | None = None,
) -> None:
    begun = time.perf_counter()
    stage: Any = (FitStage if is_fitted(config) else Stage)(name, config, split, CPU)

    def quality() -> float:
        assert goal is not None
        (found,) = stage.ranker(pack)(goal.ranking, [0])
        return float(found.values[METRIC].mean())

    clock = begin(time.perf_counter() - begun, quality)
    clock.start()
    pack = stage.pack([config])
    loop = stage.loop(pack)
    steps = 0
    if isinstance(loop, EpochLoop):
        step = loop.step

        def ticking(place: slice | torch.Tensor) -> None:
            nonlocal steps
            step(place)
            steps += 1
            clock.tick(steps / loop.n_steps)

        loop.step = ticking  # type: ignore[method-assign]
    closed = getattr(getattr(pack, "model", None), "closed_form", False)
    try:
        epoch = 0
        while not (closed and epoch):
            loop.run(epoch)
            epoch += 1
            clock.tick(epoch, at_once=closed)
    except Stopped:
        pass


def rival(run: Run, library: str, setting: Mapping[str, Any], threads: int) -> str | None:
    """Train another library's model in its own environment; return a reason if it cannot.

    The child stops its clock, leaves its vectors in a file and waits for an answer.
    """
    python = Path(f".venv-{library}/bin/python")
    if not python.exists():
        return f"{python} is missing: make rivals"
    goal = run.goal
    environment = {key: value for key, value in os.environ.items() if key not in OURS_ALONE}
    environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    if setting.get("model") == "EASE":
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"users": goal.split.n_users, "items": goal.split.n_items}
        np.savez(f"{folder}/pairs.npz", pairs=goal.pairs, **sizes)
        command = [str(python.absolute()), str(RIVALS / f"{library}_quality.py"), folder]
        command.append(json.dumps({"setting": setting, "threads": threads, "growth": run.growth}))
        with (
            open(f"{folder}/errors", "w+") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            ) as child,
        ):
            assert child.stdin is not None and child.stdout is not None
            for line in child.stdout:
                row = json.loads(line)
                run.setup, run.version = row.pop("setup"), row.pop("version")
                files = Path(folder).glob("*.npy")
                goes_on = run.add(goal.of({path.stem: np.load(path) for path in files}), **row)
                child.stdin.write("on\n" if goes_on else "stop\n")
                child.stdin.flush()
            child.wait()
            errors.seek(0)
            last = errors.read().strip()[-200:]
    return None if run.curve else f"failed: {last}"
