"""What a trial leaves for other trials to start from, and the start from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from hapens_bench.config.components import component_class
from hapens_bench.models.base import Encoded, Model
from hapens_bench.runs.folder import ARTEFACTS, run_folder

Config = Mapping[str, Any]
Artefact = Mapping[str, NDArray[Any]]


def artefact(config: Config) -> Artefact | None:
    """Read what the prerequisite of a trial left in its run folder, where the trial has one.

    Raises:
        DamagedRun: when it cannot be read.
    """
    needed = component_class(config["sampler"]).prerequisite(config)
    if needed is None:
        return None
    (name,) = [name for key, name in ARTEFACTS.items() if needed["trainer"][key]]
    return run_folder(needed).read_arrays(name)


@torch.no_grad()
def trained(model: Model, encoded: Encoded, t: int) -> dict[str, NDArray[Any]]:
    """Give what others need to start from trial t: its parameters as `model.<name>`, and its
    `users` and `items` vectors.
    """
    parameters = {f"model.{name}": p[t] for name, p in model.named_parameters()}
    return {
        name: x.cpu().numpy()
        for name, x in (
            parameters | {"users": encoded.queries[t], "items": encoded.items[t]}
        ).items()
    }


@torch.no_grad()
def start_from(model: Model, artefacts: Sequence[Artefact | None]) -> None:
    """Put the parameters that `trained` gave in place of the random ones, in the trials that have
    an artefact with them.
    """
    for name, p in model.named_parameters():
        for t, given in enumerate(artefacts):
            if given is not None and f"model.{name}" in given:
                p[t] = torch.from_numpy(given[f"model.{name}"])
