"""The configuration: where it lives, what identifies a run, and whether it makes sense."""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hapens_bench.checks import Key, problems
from hapens_bench.errors import UserError
from hapens_bench.evaluation.metrics import FULL, parse_metric
from hapens_bench.losses.base import GroupLoss, Loss
from hapens_bench.models.base import Model
from hapens_bench.samplers.base import Sampler
from hapens_bench.sections import section_problems

SELECTIONS = ("test_peak", "valid", "valid_refit")
COMPONENTS: dict[str, tuple[type, ...]] = {"model": (Model,), "sampler": (Sampler,), "loss": (Loss, GroupLoss)}
TRAINER_KEYS = {
    "epochs": Key(int, low=1, shared=True),
    "batch_size": Key(int, low=1, shared=True),
    "drop_last": Key(bool, shared=True),
    "optimizer": Key(str, choices=("adam", "adagrad"), shared=True),
    "lr": Key(float, above=0),
    "initial_accumulator": Key(float, low=0, shared=True),
    "reduction": Key(str, choices=("mean", "sum"), shared=True),
    "l2": Key(float, low=0),
    "eval_every": Key(int, low=1, shared=True),
    "patience": Key(int, low=1, optional=True, shared=True),
    "hardness_pairs": Key(int, low=1, shared=True),
    "user_hardness": Key(bool, shared=True),
    "best_model": Key(bool, shared=True),
    "device": Key(str),
    "engine": Key(str, choices=("auto", "reference")),
    "threads": Key(int, low=1, optional=True),
    "eval_memory_mb": Key(float, above=0),
    "bitmap_mb": Key(float, low=0),
    "checkpoint_seconds": Key(float, low=0),
    "keep_checkpoint": Key(bool),
}
CANNOT_CHANGE_RESULTS = (
    "device",
    "engine",
    "threads",
    "eval_memory_mb",
    "bitmap_mb",
    "checkpoint_seconds",
    "keep_checkpoint",
)
CAME_LATER: dict[str, dict[str, Any]] = {
    "trainer": {
        "optimizer": "adam",
        "initial_accumulator": 0,
        "reduction": "mean",
        "user_hardness": False,
        "best_model": False,
    },
    "protocol": {"mask": "train+valid"},
    "hapens_bench.models.mf.MF": {"init": "xavier", "std": 1},
    "hapens_bench.losses.hard_bpr.HardBPR": {"form": "plus"},
}  # what runs before there was the key did, by section, or by class of a component
ROOT_KEYS = {
    "seed": Key(int, low=0, high=2**62),
    "resume": Key(str, choices=("auto", "force", "never")),
}
# An override of a key: names of groups have no dots.
VALUE = re.compile(rf"({'|'.join(ROOT_KEYS)}|(?!hydra\.)\w+(\.\w+)+)=.*", re.DOTALL)


def conf_dir() -> Path:
    """Give the folder of YAML defaults: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def conf_file(group: str, name: str) -> Path:
    """Give conf/<group>/<name>.yaml; `default` is no choice of its own.

    Raises:
        UserError: when there is no such file.
    """
    path = conf_dir() / group / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != "default"))
        raise UserError(f"there is no {group} {name!r}; choose one of {known}")
    return path


def plain(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed config to plain containers, without Hydra's own part."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    exact = 2**53  # numbers such as 1e3 become whole ones, as far as they are exact
    return {str(key): _canonical(value, exact) for key, value in container.items() if key != "hydra"}


def compose_config(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose what the command line would, without running it."""
    return plain(unresolved(overrides))


def unresolved(overrides: Sequence[str]) -> DictConfig:
    """Compose what the command line would, with its interpolations as they are written."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", list(overrides))


def once_for_each_choice(compose: Callable[[Sequence[str]], DictConfig]) -> Callable[[Sequence[str]], dict[str, Any]]:
    """Make of `compose` one whose result is plain, and that composes only once what differs by the values of keys alone.

    Composing takes a tenth of a second, and putting values into a composed config a tenth of that. Where keys are added, removed or
    given whole sections, or a value cannot be put in, all is composed as it stands.
    """
    known: dict[tuple[str, ...], DictConfig] = {}

    def composed(overrides: Sequence[str]) -> dict[str, Any]:
        choices = tuple(override for override in overrides if not VALUE.fullmatch(override))
        values = OverridesParser.create().parse_overrides([o for o in overrides if VALUE.fullmatch(o)])
        reshaped = any(choice.startswith(("+", "~")) or "={" in choice for choice in choices)
        if reshaped or any(value.is_sweep_override() for value in values):
            return plain(compose(overrides))
        if choices not in known:
            known[choices] = compose(choices)
        config = copy.deepcopy(known[choices])
        try:
            for value in values:
                OmegaConf.update(config, value.key_or_group, value.value())
        except OmegaConfBaseException:  # to be told as Hydra tells it
            return plain(compose(overrides))
        return plain(config)

    return composed


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the part of a resolved config that can change the result."""
    kept = {name: config[name] for name in ("dataset", "protocol", *COMPONENTS, "trainer", "seed")}
    # The addresses of the files change nothing; the run notes the hash of what was in them.
    if "sources" in kept["dataset"]:
        kept["dataset"] = {name: kept["dataset"][name] for name in ("name", "source")}
    for name in ("protocol", *COMPONENTS, "trainer"):
        kept[name] = came_later(name, kept[name]) | kept[name]
    kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k not in CANNOT_CHANGE_RESULTS}
    return kept


def came_later(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys that a section has not always had, with what was done before."""
    return CAME_LATER.get(str(section.get("_target_", name)), {})


def run_id(config: Mapping[str, Any]) -> str:
    """Hash the identity: equal ids mean equal results on the same data and code."""
    return _digest(_as_first_written(identity(config)))


def config_id(config: Mapping[str, Any]) -> str:
    """Hash the identity less the seed: what replicates of one setting share."""
    return _digest({k: v for k, v in _as_first_written(identity(config)).items() if k != "seed"})


def _as_first_written(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys that came later where they say what was done before, so that a run keeps its id."""
    first = dict(kept)
    for name in ("protocol", *COMPONENTS, "trainer"):
        known = came_later(name, kept[name]).items()
        first[name] = {key: value for key, value in kept[name].items() if (key, value) not in known}
    later = ("start", "first") if kept["sampler"].get("start") == "scratch" else ()
    first["sampler"] = {k: v for k, v in first["sampler"].items() if k not in later}
    return first


def split_id(config: Mapping[str, Any]) -> str:
    """Hash what decides which pairs are trained on and which are judged: the data set and the protocol, less what is measured."""
    measured = ("selection", "metrics", "monitor", "ranking", "name")
    kept = _as_first_written(identity(config))
    protocol = {k: v for k, v in kept["protocol"].items() if k not in measured}
    return _digest({"dataset": kept["dataset"], "protocol": protocol})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value: Any, below: float = math.inf) -> Any:
    """Make numbers that compare equal (1 and 1.0) look equal, where they are smaller than `below`."""
    if isinstance(value, Mapping):
        return {str(k): _canonical(v, below) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(v, below) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < below:
        return int(value)
    return value


def lacks_tuned_file(config: Mapping[str, Any]) -> str | None:
    """Name the file of conf/tuned that a config's `tuned` requires and that does not exist, or nothing."""
    tuned = config.get("tuned") or {}
    names = [config[section]["name"] for section in ("dataset", "model", "sampler")]
    path = conf_dir() / "tuned" / str(tuned.get("name")) / f"{'-'.join(names)}.yaml"
    return f"conf/tuned/{path.parent.name}/{path.name}" if tuned.get("required") and not path.is_file() else None


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config that cannot be trained, before anything is read or written.

    Raises:
        UserError: with one sentence for each problem.
    """
    found = list(section_problems(config))
    if found:
        raise UserError("; ".join(found))
    found += problems("", ROOT_KEYS, {k: config[k] for k in ROOT_KEYS if k in config})
    found += problems("trainer", TRAINER_KEYS, config["trainer"])
    for section, bases in COMPONENTS.items():
        cls = component_class(config[section])
        if not inspect.isclass(cls) or not issubclass(cls, bases):
            raise UserError(
                f"{section}._target_ is {config[section]['_target_']!r}, but that is no class of a {section}"
            )
        found += problems(section, component_class(config[section]).keys, config[section])
    sampler, loss = component_class(config["sampler"]), component_class(config["loss"])
    if not found:
        found += sampler.problems(config["sampler"])
        if sampler.gives_weights(config["sampler"]) and not loss.weighted:
            names = config["sampler"]["name"], config["loss"]["name"]
            found.append("sampler={} gives weights, but loss={} takes none; take loss=bpr_sum".format(*names))
        if sampler.groups != loss.groups:
            takes = {True: "user groups", False: "interactions"}
            mine, theirs = (config[section]["name"] for section in ("sampler", "loss"))
            found.append(f"sampler={mine} works on {takes[sampler.groups]}, but loss={theirs} on {takes[loss.groups]}")
    if missing := lacks_tuned_file(config):
        found.append(f"tuned={config['tuned']['name']} needs {missing}: tune first, then hapens choose writes it")
    protocol = config["protocol"]
    selection = Key(list, choices=SELECTIONS)
    if not selection.accepts(protocol["selection"]) or not protocol["selection"]:
        found.append(f"protocol.selection is {protocol['selection']!r}, but it takes a list of {', '.join(SELECTIONS)}")
    if not all(isinstance(name, str) for name in protocol["metrics"]):
        found.append(f"protocol.metrics is {protocol['metrics']!r}, but it takes a list of texts")
    elif protocol["monitor"] not in protocol["metrics"]:
        found.append(f"protocol.monitor is {protocol['monitor']!r}, but it must stand in protocol.metrics")
    else:
        for name in protocol["metrics"]:
            parse_metric(name.removeprefix(FULL))
        found += _ranking_problems(protocol)
    if protocol["mask"] == "train" and "valid_refit" in protocol["selection"]:
        found.append(
            "protocol.selection has valid_refit, which trains on validation items, but with "
            "protocol.mask=train they stay candidates; leave valid_refit out"
        )
    for key in ("user_hardness", "best_model"):
        if config["trainer"].get(key) and "valid" not in protocol["selection"]:
            found.append(f"trainer.{key} is of the epoch of selection valid; take protocol.selection=[valid]")
    if found:
        raise UserError("; ".join(text.lstrip(".") for text in found))


def _ranking_problems(protocol: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for everything that candidate ranking lacks, or full ranking has too much of."""
    ranking, key = protocol["ranking"], Key(str, choices=("full", "candidates"))
    if not key.accepts(ranking):
        yield f"protocol.ranking is {ranking!r}, but it takes {key.allowed()}"
    elif ranking == "full" and any(name.startswith(FULL) for name in protocol["metrics"]):
        yield f"protocol.metrics names {FULL}..., but protocol.ranking=full has no other ranking beside it; leave {FULL} out"
    elif ranking == "candidates":
        if protocol["split"]["kind"] != "leave_one_out":
            yield "protocol.ranking=candidates needs one held-out item a user: protocol.split.kind=leave_one_out"
        if protocol.get("candidates") is None:
            yield "protocol.ranking=candidates needs protocol.candidates; take protocol=gdns"
        if all(name.startswith(FULL) for name in protocol["metrics"]):
            yield f"protocol.metrics has nothing but {FULL}...; take protocol.ranking=full"


def component_class(config: Mapping[str, Any]) -> Any:
    """Import the class that a component's `_target_` names.

    Raises:
        UserError: when it cannot be imported.
    """
    module, _, name = str(config.get("_target_")).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"cannot import {config.get('_target_')!r}: {error}") from error
