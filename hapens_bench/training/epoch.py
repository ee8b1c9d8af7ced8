"""One epoch of a pack: a pass over its train pairs, or over its users."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hapens_bench.kernels import Engine
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives
from hapens_bench.termination import check
from hapens_bench.training.capture import CaptureFailed, check_replay, record, warm_up
from hapens_bench.training.hardness import HardnessMeter
from hapens_bench.training.pack import Pack

LOG = logging.getLogger(__name__)


class EpochLoop:
    """Takes the steps of an epoch; on CUDA by replaying one captured graph, without host syncs.

    Where a step cannot be captured, `uncaptured` holds the reason, and steps are taken one by one
    with the same result.

    An epoch goes over the train pairs or, where the sampler works on user groups, over the users
    who have a train pair.

    A step reads what changes between steps (the counters, and the epoch's interactions or users in
    their order) from tensors, and adds to tensors (losses, hardness). So a replay does what a step
    does.
    """

    def __init__(
        self,
        pack: Pack,
        train: Tensor,
        positives: Positives,
        excluded: Positives,
        false_negatives: Positives,
        settings: Mapping[str, Any],
        engine: Engine,
    ) -> None:
        self.pack, self.excluded, self.epochs = pack, excluded, settings["epochs"]
        if pack.sampler.groups:
            train = train[:, :1].unique(dim=0)
        self.train = train.T.contiguous()
        n = len(train)
        self.B = min(settings["batch_size"], n)
        self.n_steps = n // self.B if settings["drop_last"] else math.ceil(n / self.B)
        # Samplers on groups draw from the positives; the others only leave them out.
        pack.sampler.start(positives if pack.sampler.groups else excluded)
        pack.sampler.observe(positives)
        pack.loss.start(positives)
        self.meter = HardnessMeter(
            false_negatives, positives, settings["hardness_pairs"], pack.size
        )
        device = train.device
        self.epoch = torch.zeros((), dtype=torch.int64, device=device)
        self.k = torch.zeros((), dtype=torch.int64, device=device)
        self.ordered = torch.zeros(len(self.train), pack.size, n, dtype=torch.int64, device=device)
        self.losses = torch.zeros(pack.size, dtype=torch.float64, device=device)
        self.uncaptured: str | None = None
        self.graph = self._capture() if engine is Engine.CUDA else None

    def run(self, epoch: int) -> list[dict[str, Any]]:
        """Train for one epoch; return a row of loss and hardness for each trial.

        Raises:
            Terminated: between steps, when the process was asked to stop.
        """
        self.epoch.fill_(epoch)
        self.k.zero_()
        self.losses.zero_()
        self.meter.clear()
        n = self.train.shape[1]
        order = self.pack.shuffled(epoch, n)
        for ordered, column in zip(self.ordered, self.train, strict=True):
            torch.index_select(column, 0, order.flatten(), out=ordered.view(-1))
        for begin in range(0, self.n_steps * self.B, self.B):
            check()
            place = slice(begin, begin + self.B)
            if self.graph is not None and place.stop <= n:
                self.graph.replay()
            else:
                self.step(place)
        encoded = self.pack.model.encode().detach()
        hardness = self.meter.report(encoded)
        sampler_columns = {
            name: column.tolist()
            for name, column in self.pack.sampler.close_epoch(epoch, encoded).items()
        }
        self.pack.loss.close_epoch(epoch, encoded)
        return [
            {
                "epoch": epoch,
                "train/loss": loss / self.n_steps,
                **row,
                **{name: column[t] for name, column in sampler_columns.items()},
            }
            for t, (loss, row) in enumerate(zip(self.losses.tolist(), hardness, strict=True))
        ]

    def step(self, place: slice | Tensor) -> None:
        """Take a step on some of the epoch's interactions (or users); advance the counter."""
        users, *rest = self.ordered[:, :, place]
        items = rest[0] if rest else users.new_empty(*users.shape, 0)
        batch = Batch(users, items, self.epoch, self.epoch * self.n_steps + self.k, self.epochs)
        losses, positive, negative, negatives = self.pack.step(batch, self.excluded)
        self.losses += losses
        self.meter.add(batch.users, positive, negative, negatives)
        self.k += 1

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """Record a step, or note why that fails. The steps that compile and test it are undone."""
        device, before = self.k.device, self.pack.snapshot()

        def step(at: Tensor | int) -> None:
            # The places are made in the step: a replay reads memory, and a tensor from outside
            # that nothing else holds would be gone by then.
            self.step(at + torch.arange(self.B, device=device))

        try:
            warm_up(lambda: step(0), device)
            self.k.zero_()
            graph = record(lambda: step(self.k * self.B), device)
            check_replay(graph, self.k)
            return graph
        except CaptureFailed as error:
            self.uncaptured = str(error)
            sampler = type(self.pack.sampler).__name__
            LOG.warning("a step of %s is not captured, so training is slower: %s", sampler, error)
            return None
        finally:
            self.pack.restore(before)
