"""The training that must come before a trial: the section that describes it, and its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapens_bench.config.keys import Key
from hapens_bench.runs.folder import ARTEFACTS

PARTS = ("loss", "sampler", "trainer")


def first_problems(name: str, section: Any) -> list[str]:
    """Return what is wrong with section `name` of a YAML, which describes such a training."""
    if (
        isinstance(section, Mapping)
        and sorted(section) == sorted(PARTS)
        and all(map(Key(dict).accepts, section.values()))
    ):
        return []
    return [f"{name} is {section!r}, but it takes the sections sampler, loss and trainer"]


def first_config(
    config: Mapping[str, Any], section: Mapping[str, Any], leaves: str
) -> dict[str, Any]:
    """Return the config of that training: the trial's own, with what the section changes.

    Data, model, seed and most of the trainer are the trial's. `leaves` is the trainer key, one of
    `ARTEFACTS`, by which the training leaves what the trial takes over; it leaves nothing else.
    `tuned` is `none`: tuned settings of the trial include those of the section, and no file of
    conf/tuned is for that training itself.
    """
    return {
        **config,
        "tuned": {"name": "none"},
        "sampler": section["sampler"],
        "loss": section["loss"],
        "trainer": {
            **config["trainer"],
            **section["trainer"],
            **{key: key == leaves for key in ARTEFACTS},
        },
        "protocol": {**config["protocol"], "selection": ["valid"]},
    }
