"""What a stage trains on and is evaluated on, put on a device once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hapens_bench.config.components import component_class
from hapens_bench.data.interactions import IntArray, Split
from hapens_bench.evaluation.beyond import BeyondAccuracy
from hapens_bench.evaluation.candidates import CandidateRanking, WithFullRanking
from hapens_bench.evaluation.ranking import FullRanking, PerUser, Ranking
from hapens_bench.kernels import pick_engine
from hapens_bench.metrics import FULL
from hapens_bench.models.graph import Graph
from hapens_bench.samplers.pool import Positives
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.interface import Ranker
from hapens_bench.training.known_pairs import watch
from hapens_bench.training.pack import Pack

Config = Mapping[str, Any]


class Stage:
    """The train pairs of stage `held` or `full`, its false negatives, and its packs and loops.

    The edges of a graph model's graph are the stage's own train pairs: no held-out pair is an edge.
    """

    def __init__(self, name: str, config: Config, split: Split, device: torch.device) -> None:
        self.settings, self.split, self.device = config["trainer"], split, device
        self.engine = pick_engine(self.settings["engine"], device)
        pairs = train_pairs(name, config["protocol"], split)
        truth = [split.test, split.valid] if split.relevant is None else [split.relevant]
        truth += [] if split.relabelled is None else [split.relabelled]
        self.train = torch.from_numpy(pairs).to(device)
        self.positives = self._positives(pairs)
        self.false_negatives = self._positives(np.concatenate(truth))
        self.excluded = self.positives
        if config["protocol"]["negatives"] == "exclude_held_out":
            self.excluded = self._positives(np.concatenate([split.full_train, split.test]))
        sizes = split.n_users, split.n_items
        wanted = component_class(config["model"]).uses_graph
        self.graph = Graph(pairs, *sizes, device, self.engine) if wanted else None

    def _positives(self, pairs: IntArray) -> Positives:
        budget = int(self.settings["bitmap_mb"] * 2**20)
        return Positives(
            pairs, self.split.n_users, self.split.n_items, self.device, budget, self.engine
        )

    def pack(self, configs: Sequence[Config]) -> Pack:
        """Build the pack of some trials, for this stage."""
        sizes = self.split.n_users, self.split.n_items
        return Pack(configs, *sizes, self.device, self.engine, self.graph, len(self.train))

    @cached_property
    def watched(self) -> dict[str, Tensor] | None:
        """The pairs with known relevance; listed only for samplers that remember something."""
        return watch(self.split)

    def indicators(self, pack: Pack, t: int) -> dict[str, Tensor]:
        """Return what the sampler remembers about the pairs with known relevance in trial t.

        Empty where there are no such pairs, or it remembers nothing.
        """
        if not pack.sampler.remembered or self.watched is None:
            return {}
        users, items = (self.watched[name].to(self.device) for name in ("user", "item"))
        columns = pack.sampler.indicators(t, users, items)
        return {**self.watched, **{name: x.cpu() for name, x in columns.items()}} if columns else {}

    def ranker(self, pack: Pack) -> Ranker:
        """Return what ranks by the present vectors, of the trials at given places."""
        encoded = pack.model.encode()

        def ranked(by: Ranking, trials: Sequence[int]) -> list[PerUser]:
            if len(trials) == pack.size:
                return by.evaluate(encoded.queries, encoded.items)
            return by.evaluate(encoded.queries[trials], encoded.items[trials])

        return ranked

    def loop(self, pack: Pack) -> EpochLoop:
        """Prepare to train a pack, epoch by epoch."""
        return EpochLoop(
            pack,
            self.train,
            self.positives,
            self.excluded,
            self.false_negatives,
            self.settings,
            self.engine,
        )


def train_pairs(stage: str, protocol: Mapping[str, Any], split: Split) -> IntArray:
    """Return the pairs that a stage trains on, which are also masked in its ranking.

    `held` trains on the train part. `full` trains on the validation part too, unless
    `protocol.mask` leaves that part among the candidates.
    """
    return split.train if stage == "held" or protocol["mask"] == "train" else split.full_train


def ranking(config: Config, split: Split, device: torch.device, stage: str = "full") -> Ranking:
    """Prepare a stage's ranking: of validation items in `held`, of test items in `full`.

    Under candidate ranking, metrics whose names begin with `full/` are computed over all items.
    """
    settings, protocol = config["trainer"], config["protocol"]
    masked = train_pairs(stage, protocol, split)
    targets = split.valid if stage == "held" else split.test
    memory, engine = settings["eval_memory_mb"], pick_engine(settings["engine"], device)
    sizes = split.n_users, split.n_items
    beyond = BeyondAccuracy(masked, targets, split.n_items) if stage == "full" else None

    def full(metrics: list[str]) -> FullRanking:
        return FullRanking(masked, targets, *sizes, metrics, device, memory, engine, beyond)

    metrics = protocol["metrics"]
    if protocol["ranking"] == "full":
        return full(metrics)
    assert split.negatives is not None
    over_candidates = [name for name in metrics if not name.startswith(FULL)]
    over_all = [name.removeprefix(FULL) for name in metrics if name.startswith(FULL)]
    candidates = CandidateRanking(targets, split.negatives, over_candidates, device, memory, engine)
    return WithFullRanking(candidates, full(over_all)) if over_all else candidates
