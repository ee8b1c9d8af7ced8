"""The settings of a search: conf/tune, and `tune.KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hapens_bench.config.keys import Key, problems
from hapens_bench.config.paths import conf_file
from hapens_bench.errors import UserError

KEYS = {
    "experiment": Key(str),
    "n_trials": Key(int, low=1, optional=True),
    "algorithm": Key(str, choices=("tpe", "random", "grid")),
    "startup": Key(int, low=1),
    "batch": Key(int, low=1),
    "seeds": Key(int, low=1),
    "pruner": Key(str, choices=("median", "none")),
    "warmup": Key(int, low=0),
    "seed": Key(int, low=0, optional=True),
    "baseline": Key(str, optional=True),
    "setting": Key(str, optional=True),
    "out": Key(str, optional=True),
}
# The settings that change which trials a search proposes; its length does not.
IDENTITY = ("algorithm", "startup", "batch", "seeds", "pruner", "warmup", "seed")


def read_settings(name: str, typed: Sequence[str]) -> dict[str, Any]:
    """Read the settings: conf/tune/default.yaml, conf/tune/<name>.yaml, then `tune.KEY=VALUE`.

    Raises:
        UserError: for an unknown name or key, or a value that a key does not take.
    """
    chosen: dict[str, Any] = {}
    for file in ("default", name):
        section = OmegaConf.to_container(OmegaConf.load(conf_file("tune", file)))
        assert isinstance(section, dict)
        chosen |= {str(key): value for key, value in section.items()}
    for override in OverridesParser.create().parse_overrides(list(typed)):
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line} lists several values, "
                f"but a search has one {override.key_or_group}"
            )
        chosen[override.key_or_group.removeprefix("tune.")] = override.value()
    if wrong := list(problems("tune", KEYS, chosen)):
        raise UserError("; ".join(wrong))
    return chosen
