"""What a stage and a pack are for models that are fitted, without negatives or gradient steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.components import component_class
from hapens_bench.data.interactions import Split
from hapens_bench.models.fitted import Fitted, train_matrix
from hapens_bench.training.interface import Ranker
from hapens_bench.training.stage import train_pairs

Config = Mapping[str, Any]


class FitStage:
    """The train pairs of stage `held` or `full`, for one trial; compare `stage.Stage`."""

    def __init__(self, name: str, config: Config, split: Split, device: torch.device) -> None:
        pairs = train_pairs(name, config["protocol"], split)
        self.X = train_matrix(pairs, split.n_users, split.n_items)

    def pack(self, configs: Sequence[Config]) -> Fit:
        """Build the model of the one trial."""
        (config,) = configs
        section, cls = config["model"], component_class(config["model"])
        return Fit(cls(self.X, int(config["seed"]), **{key: section[key] for key in cls.keys}))

    def loop(self, fit: Fit) -> FitLoop:
        """Prepare to fit, epoch by epoch."""
        return FitLoop(fit.model)

    def ranker(self, fit: Fit) -> Ranker:
        """Return what ranks by the present scores."""
        return lambda by, trials: [by.evaluate_scores(fit.model.scores) for _ in trials]

    def indicators(self, fit: Fit, t: int) -> dict[str, Tensor]:
        """Return nothing: no sampler remembers anything."""
        return {}


class Fit:
    """A fitted model as a pack of one trial; compare `pack.Pack`."""

    def __init__(self, model: Fitted) -> None:
        self.model = model

    def keep(self, trials: Sequence[int]) -> None:
        """Keep the one trial: a pack from which it is dropped is left by the trainer."""

    def snapshot(self, over: list[Tensor] | None = None) -> list[Tensor]:
        """Copy what an epoch changes, over an earlier copy if there is one."""
        copies = over or [torch.empty_like(x) for x in self.model.state().values()]
        return [copy.copy_(x) for copy, x in zip(copies, self.model.state().values(), strict=True)]

    def restore(self, snapshot: Sequence[Tensor]) -> None:
        """Undo what was done since a snapshot."""
        for x, before in zip(self.model.state().values(), snapshot, strict=True):
            x.copy_(before)

    def trial_state(self, t: int) -> dict[str, Any]:
        """Copy what the trial needs to continue."""
        return {name: x.clone() for name, x in self.model.state().items()}

    def load_trial_state(self, t: int, state: Mapping[str, Any]) -> None:
        """Put the saved trial in place."""
        for name, x in self.model.state().items():
            x.copy_(state[name])


class FitLoop:
    """Calls `fit` once an epoch; compare `epoch.EpochLoop`."""

    uncaptured: str | None = None  # nothing here is for a captured graph

    def __init__(self, model: Fitted) -> None:
        self.model = model

    def run(self, epoch: int) -> list[dict[str, Any]]:
        """Fit for one epoch; return the row of the one trial, without hardness."""
        return [{"epoch": epoch, **self.model.fit()}]
