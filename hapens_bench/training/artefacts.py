"""What a trial leaves for other trials to start from, and how they start from it."""

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
    """Return what a trial's prerequisite left in its run folder; None without a prerequisite.

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
    """Return what other trials need to start from trial t.

    That is its parameters as `model.<name>`, and its `users` and `items` vectors.
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
    """Replace random parameters by those that `trained` returned.

    Trials without such parameters in their artefact keep their random ones.
    """
    for name, p in model.named_parameters():
        for t, arrays in enumerate(artefacts):
            if arrays is not None and f"model.{name}" in arrays:
                p[t] = torch.from_numpy(arrays[f"model.{name}"])
