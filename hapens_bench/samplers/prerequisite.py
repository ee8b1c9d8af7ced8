"""The training that must come before a trial's own: what its section of the YAML may hold, and its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapens_bench.config.keys import Key
from hapens_bench.runs.folder import ARTEFACTS

PARTS = ("loss", "sampler", "trainer")


def first_problems(name: str, part: Any) -> list[str]:
    """Say what is wrong with the section `name` of a YAML, which describes such a training."""
    if (
        isinstance(part, Mapping)
        and sorted(part) == sorted(PARTS)
        and all(map(Key(dict).accepts, part.values()))
    ):
        return []
    return [f"{name} is {part!r}, but it takes the sections sampler, loss and trainer"]


def first_config(config: Mapping[str, Any], part: Mapping[str, Any], leaves: str) -> dict[str, Any]:
    """Give the config of that training: the trial's own data, model, seed and trainer, but for what the section says.

    `leaves` is the key of the trainer, of `ARTEFACTS`, by which it leaves what the trial takes over; it leaves nothing else. Where the
    trial's settings are tuned ones, so are those of its section: no file of conf/tuned is that training's own.
    """
    return {
        **config,
        "tuned": {"name": "none"},
        "sampler": part["sampler"],
        "loss": part["loss"],
        "trainer": {
            **config["trainer"],
            **part["trainer"],
            **{key: key == leaves for key in ARTEFACTS},
        },
        "protocol": {**config["protocol"], "selection": ["valid"]},
    }
