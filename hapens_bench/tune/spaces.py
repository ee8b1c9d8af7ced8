"""What is searched for a sampler of one's own: a file in its folder, or words that list values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError

OWN = re.compile(r"(sampler|loss)\.[\w.]+")  # keys that a sampler may bring a space for


def written_space(sampler: str, folders: Sequence[Path]) -> dict[str, str] | None:
    """Return the space in DIR/space/<sampler>.yaml of the first folder that has one.

    Raises:
        UserError: when the file holds anything but keys of the sampler or the loss with their
        values.
    """
    for folder in folders:
        path = folder / "space" / f"{sampler}.yaml"
        if path.is_file():
            content = OmegaConf.to_container(OmegaConf.load(path))
            if not isinstance(content, Mapping):
                raise UserError(f"{path} is no space; it takes lines like sampler.M: 4,8,16")
            space = {str(key): _text(value) for key, value in content.items()}
            check_keys(space, str(path))
            return space
    return None


def check_keys(space: Mapping[str, str], where: str) -> None:
    """Refuse a space of keys that are the same for all samplers.

    Raises:
        UserError: with one sentence.
    """
    for key in space:
        if not OWN.fullmatch(key):
            raise UserError(
                f"{where} lists values of {key}, but only sampler.KEY and loss.KEY may be searched "
                "for one sampler alone"
            )


def _text(value: object) -> str:
    """Return the values of a key in Hydra's grammar; a YAML list is a list of values."""
    return ",".join(map(hydra_value, value)) if isinstance(value, list) else str(value)
