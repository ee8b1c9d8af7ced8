"""Components for the trials of a pack, built from their config sections."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hapens_bench.config.components import component_class
from hapens_bench.samplers.base import Sampler
from hapens_bench.training.artefacts import Artefact

Config = Mapping[str, Any]


def build(sections: Sequence[Config], **context: Any) -> Any:
    """Build one component for T trials from its T config sections.

    Keys declared `shared` are passed as they are (the launcher groups trials by them), the others
    as float32 tensors [T, 1, 1]. Of `context` the constructor gets what its signature names.
    """
    cls = component_class(sections[0])
    values: dict[str, Any] = {}
    for name, key in cls.keys.items():
        if key.host:
            continue
        if key.shared:
            value = sections[0][name]
            values[name] = int(value) if key.kind is int and value is not None else value
        else:
            values[name] = per_trial([section[name] for section in sections])
    wanted = constructor_names(cls)
    return cls(**values, **{name: value for name, value in context.items() if name in wanted})


def build_sampler(
    sections: Sequence[Config],
    seeds: list[int],
    D: int,
    n_users: int,
    n_items: int,
    artefacts: Sequence[Artefact | None] | None = None,
    n_pairs: int = 0,
) -> Sampler:
    """Build the sampler of T trials; besides keys, pass what its constructor's signature asks for.

    It may ask for `seeds`, `D`, `n_users`, `n_items`, `n_pairs` (how many train pairs there are)
    and `inherited`: what each trial takes over from its prerequisite's artefact.
    """
    cls = component_class(sections[0])
    context: dict[str, Any] = {"seeds": seeds, "D": D, "n_users": n_users, "n_items": n_items}
    context["n_pairs"] = n_pairs
    if "inherited" in constructor_names(cls):
        trials = zip(sections, seeds, artefacts or [None] * len(sections), strict=True)
        context["inherited"] = [cls.inherited(*trial) for trial in trials]
    sampler: Sampler = build(sections, **context)
    return sampler


def constructor_names(cls: type) -> set[str]:
    """Return the names of a constructor's parameters.

    One with **kwargs takes its base class's parameters too.
    """
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names |= {parameter.name for parameter in parameters}
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
                break
    return names


def per_trial(values: Sequence[float]) -> Tensor:
    """Stack one number for each trial into [T, 1, 1]."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
