"""The trial axis: several trials of one shape, trained in the same kernels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hapens_bench.kernels import Engine
from hapens_bench.losses.base import Loss
from hapens_bench.models.base import Model
from hapens_bench.models.dropout import Noise
from hapens_bench.models.graph import Graph
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Sampler
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.adagrad import PackAdagrad
from hapens_bench.training.adam import PackAdam
from hapens_bench.training.artefacts import artefact, start_from
from hapens_bench.training.build import build, build_sampler, per_trial
from hapens_bench.training.optimizer import PackOptimizer

Config = Mapping[str, Any]


@torch.no_grad()
def cap_rows(model: Model, caps: Tensor) -> None:
    """Scale the rows of the user and item tables that are longer than their trial's cap to it.

    Shape:
        caps: [T, 1, 1], inf for none.
    """
    for table in (model.user, model.item):
        length = table.norm(dim=-1, keepdim=True)
        table.mul_((caps / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(max=1))


class Pack:
    """Model, sampler, loss, optimiser and random streams of T trials.

    The modules' parameters and buffers, the optimiser's state and the streams all have the trial
    axis first, so a trial is a slice: `keep` drops trials, `trial_state` and `load_trial_state`
    save and restore one.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        n_users: int,
        n_items: int,
        device: torch.device,
        engine: Engine = Engine.PLAIN,
        graph: Graph | None = None,
        n_pairs: int = 0,
    ) -> None:
        seeds = [int(config["seed"]) for config in configs]
        context = {"seeds": seeds, "n_users": n_users, "n_items": n_items, "graph": graph}
        model = build([c["model"] for c in configs], **context)
        self.model: Model = model.to(device)
        self.model.engine = engine
        D, artefacts = configs[0]["model"]["D"], [artefact(config) for config in configs]
        start_from(model, artefacts)
        sampler = build_sampler(
            [c["sampler"] for c in configs], seeds, D, n_users, n_items, artefacts, n_pairs
        )
        self.sampler = sampler.to(device)
        if type(sampler).allocate is not Sampler.allocate:  # else nothing asks for the vectors
            sampler.allocate(self.model.encode().detach())
        losses = [c["loss"] for c in configs]
        self.loss: Loss = build(losses, seeds=seeds, n_users=n_users).to(device)
        self.l2 = per_trial([c["trainer"]["l2"] for c in configs]).to(device).view(-1)
        caps = [c["trainer"]["norm_cap"] for c in configs]
        self.norm_caps: Tensor | None = None
        if any(cap is not None for cap in caps):
            self.norm_caps = per_trial([cap or float("inf") for cap in caps]).to(device)
        self.sums = configs[0]["trainer"]["reduction"] == "sum"
        self.optimizer = self._optimizer(configs, engine)
        self.pool_streams = Streams(seeds, Purpose.POOL, device)
        self.sampler_streams = Streams(seeds, Purpose.SAMPLER, device)
        self.shuffle_streams = Streams(seeds, Purpose.SHUFFLE, device)
        self.dropout_streams = Streams(seeds, Purpose.DROPOUT, device)

    def _optimizer(self, configs: Sequence[Config], engine: Engine) -> PackOptimizer:
        params, settings = list(self.parameters().values()), configs[0]["trainer"]
        lr, decay = (
            per_trial([c["trainer"][name] for c in configs]).to(self.l2.device)
            for name in ("lr", "weight_decay")
        )
        sampler_lr, sampler_decay = self.sampler.learning_rate(), torch.zeros_like(decay)
        if sampler_lr is None:
            sampler_lr, sampler_decay = lr, decay
        of_model = [name.startswith("model.") for name in self.parameters()]
        lr = torch.stack([lr if mine else sampler_lr for mine in of_model])
        decays: Tensor | None = None
        if any(c["trainer"]["weight_decay"] for c in configs):
            decays = torch.stack([decay if mine else sampler_decay for mine in of_model])
        if settings["optimizer"] == "adam":
            return PackAdam(params, lr, engine=engine, weight_decay=decays)
        return PackAdagrad(params, lr, settings["initial_accumulator"], weight_decay=decays)

    @property
    def size(self) -> int:
        """The number of trials, T."""
        return len(self.l2)

    @property
    def streams(self) -> tuple[Streams, ...]:
        """The random streams of the trials, one for each purpose."""
        return (
            self.pool_streams,
            self.sampler_streams,
            self.shuffle_streams,
            self.dropout_streams,
        )

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return all trained tensors by name."""
        modules = {"model": self.model, "sampler": self.sampler}
        return {
            f"{m}.{name}": p
            for m, module in modules.items()
            for name, p in module.named_parameters()
        }

    def shuffled(self, epoch: int, n: int) -> Tensor:
        """Return each trial's order of n interactions in an epoch, [T, n]."""
        low = (1 << n.bit_length()) - 1
        keys = self.shuffle_streams.bits(epoch * n, n)
        # sort the place along with random high bits: no argsort
        keys = (keys & ~low) | torch.arange(n, device=keys.device)
        if keys.is_cuda:
            return keys.sort(dim=-1).values & low
        keys.numpy().sort(axis=-1)  # on a CPU, measured 10 times as fast as torch's sort
        return keys & low

    def step(self, batch: Batch, excluded: Positives) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw negatives and take the gradient step; return its losses, scores and negatives.

        `excluded` are the pairs that are never drawn.

        Shape:
            -> losses [T]; scores of positives [T, B] and negatives [T, B, K] as given to the loss;
            negatives [T, B, K]. For user groups: of each user's first positive, and of the
            negatives.
        """
        M, B = self.sampler.pool_size, batch.users.shape[1]
        encoded = self.model.encode(Noise(self.dropout_streams, batch.step))
        ego = self.model.ego(encoded)
        pool = draw_pool(excluded, batch.users, M, self.pool_streams, batch.step * B * M)
        with torch.set_grad_enabled(self.sampler.differentiable):
            seen = encoded if self.sampler.differentiable else encoded.detach()
            drawn = self.sampler.draw(batch, seen, pool, self.sampler_streams)
        scored = self.loss.score(encoded, ego, batch, drawn)
        losses = scored.losses.mean(-1) + self.l2 * scored.squares.mean(-1)
        positives = drawn.group[..., 0] if self.sampler.groups else batch.items
        for extra in (drawn.extra, self.model.extra(encoded, batch.users, positives)):
            if extra is not None:
                losses = losses + extra
        (losses.sum() * B if self.sums else losses.sum()).backward()
        self.optimizer.step()
        if self.norm_caps is not None:
            cap_rows(self.model, self.norm_caps)
        scores = scored.positive.detach(), scored.negative.detach()
        return losses.detach(), *scores, drawn.items

    def keep(self, trials: Sequence[int]) -> None:
        """Keep the given trials only (indices on the trial axis)."""
        index = torch.tensor(trials, dtype=torch.int64, device=self.l2.device)
        for module in (self.model, self.sampler, self.loss):
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data[index]
                tensor.grad = None
        self.l2 = self.l2[index]
        if self.norm_caps is not None:
            self.norm_caps = self.norm_caps[index]
        self.optimizer.keep(index)
        for streams in self.streams:
            streams.keep(index)

    def _tensors(self) -> list[Tensor]:
        """Return every tensor that a step changes."""
        modules = (self.model, self.sampler, self.loss)
        changed = [
            x.detach() for module in modules for x in (*module.parameters(), *module.buffers())
        ]
        return [
            *changed,
            *itertools.chain.from_iterable(self.optimizer.slots.values()),
            self.optimizer.steps,
        ]

    def snapshot(self, over: list[Tensor] | None = None) -> list[Tensor]:
        """Copy every tensor that a step changes.

        `over` is an earlier copy to overwrite; it is used where its shapes are still the same.
        """
        tensors = self._tensors()
        if over is None or [x.shape for x in over] != [x.shape for x in tensors]:
            return [x.clone() for x in tensors]
        for copy, x in zip(over, tensors, strict=True):
            copy.copy_(x)
        return over

    def restore(self, snapshot: list[Tensor]) -> None:
        """Undo the steps since a snapshot, and drop the gradients of a step that failed halfway."""
        for x, before in zip(self._tensors(), snapshot, strict=True):
            x.copy_(before)
        for parameter in self.parameters().values():
            parameter.grad = None

    def trial_state(self, t: int) -> dict[str, Any]:
        """Copy what trial t needs to continue in another pack.

        That is its parameters, what the optimiser and the sampler remember, and the step count.
        """
        names = list(self.parameters())
        return {
            "parameters": {
                name: p.detach()[t].cpu().clone() for name, p in self.parameters().items()
            },
            **{
                slot: {name: x[t].cpu().clone() for name, x in zip(names, tensors, strict=True)}
                for slot, tensors in self.optimizer.slots.items()
            },
            "steps": int(self.optimizer.steps),
            "remembered": {name: x[t].cpu().clone() for name, x in self._remembered().items()},
        }

    @torch.no_grad()
    def load_trial_state(self, t: int, state: Mapping[str, Any]) -> None:
        """Put a saved trial in place t."""
        slots: dict[str, list[Tensor]] = {
            "parameters": [*self.parameters().values()],
            **self.optimizer.slots,
        }
        for slot, tensors in slots.items():
            for name, x in zip(self.parameters(), tensors, strict=True):
                x[t] = state[slot][name]
        self.optimizer.steps.fill_(state["steps"])
        for name, x in self._remembered().items():
            x[t] = state["remembered"][name]

    def _remembered(self) -> dict[str, Tensor]:
        """Return what the sampler and the loss remember, by name."""
        loss = {f"loss.{name}": x for name, x in self.loss.remembered.items()}
        return {**self.sampler.remembered, **loss}
