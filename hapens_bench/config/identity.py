"""What identifies a run: the part of a resolved config that can change its result, hashed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from hapens_bench.config.components import COMPONENTS
from hapens_bench.config.own_files import PARTS, is_own

CANNOT_CHANGE_RESULTS = (
    "device",
    "engine",
    "threads",
    "eval_memory_mb",
    "bitmap_mb",
    "checkpoint_seconds",
    "keep_checkpoint",
)

# Keys that were added later, with the behaviour of runs before them: such a run keeps its id. The
# owner of a key is a section, or the class of a component.
CAME_LATER: dict[str, Any] = {
    "trainer.optimizer": "adam",
    "trainer.initial_accumulator": 0,
    "trainer.reduction": "mean",
    "trainer.weight_decay": 0,
    "trainer.norm_cap": None,
    "trainer.user_hardness": False,
    "trainer.best_model": False,
    "protocol.mask": "train+valid",
    "protocol.negatives": "all",
    "hapens_bench.models.mf.MF.init": "xavier",
    "hapens_bench.models.mf.MF.std": 1,
    "hapens_bench.models.lightgcn.LightGCN.similarity": "dot",
    "hapens_bench.models.lightgcn.LightGCN.std": 0.1,
    "hapens_bench.models.ials.IALS.cg": None,
    "hapens_bench.losses.sampled_softmax.SampledSoftmax.positive": "in",
    "hapens_bench.losses.hard_bpr.HardBPR.form": "plus",
    "hapens_bench.samplers.ssm.SSM.shared": False,
    "hapens_bench.samplers.irgan.IRGAN.start": "scratch",
    "hapens_bench.samplers.rns_as.RNSAS.start": "scratch",
    "hapens_bench.samplers.advir.AdvIR.start": "scratch",
}
# A key that has no meaning where the other has its old value.
MEANINGLESS_WITHOUT = {"first": "start"}


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved config that can change the result."""
    kept = {name: config[name] for name in ("dataset", "protocol", *COMPONENTS, "trainer", "seed")}
    # The addresses of the files change nothing; the run records the hash of their content.
    if "sources" in kept["dataset"]:
        kept["dataset"] = {name: kept["dataset"][name] for name in ("name", "source")}
    elif is_own(kept["dataset"]):  # its checksums stand for its files
        kept["dataset"] = {k: v for k, v in kept["dataset"].items() if k not in PARTS}
    for name in ("protocol", *COMPONENTS, "trainer"):
        kept[name] = came_later(name, kept[name]) | kept[name]
    kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k not in CANNOT_CHANGE_RESULTS}
    return kept


def came_later(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that were added to a section later, with the behaviour before them."""
    if name == "trainer" and "lr" not in section:
        return {}  # of models that are fitted: none of these keys is theirs
    place = str(section.get("_target_", name))
    split = (dotted.rpartition(".") for dotted in CAME_LATER)
    return {key: CAME_LATER[f"{owner}.{key}"] for owner, _, key in split if owner in (place, name)}


def run_id(config: Mapping[str, Any]) -> str:
    """Return the hash of the identity: equal ids mean equal results on the same data and code."""
    return _digest(_as_first_written(identity(config)))


def config_id(config: Mapping[str, Any]) -> str:
    """Return the hash of the identity without the seed, which replicates of a setting share."""
    return _digest({k: v for k, v in _as_first_written(identity(config)).items() if k != "seed"})


def _as_first_written(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity without later keys that have their old value, so that ids stay."""
    first = dict(kept)
    for name in ("protocol", *COMPONENTS, "trainer"):
        known = came_later(name, kept[name])
        same = {key for key, value in known.items() if kept[name].get(key) == value}
        same |= {key for key, other in MEANINGLESS_WITHOUT.items() if other in same}
        first[name] = {key: value for key, value in kept[name].items() if key not in same}
    return first


def split_id(config: Mapping[str, Any]) -> str:
    """Return the hash of what decides which pairs are trained on and which are evaluated.

    That is the data set and the protocol, without the keys of what is measured.
    """
    measured = ("selection", "metrics", "monitor", "ranking", "name")
    kept = _as_first_written(identity(config))
    protocol = {k: v for k, v in kept["protocol"].items() if k not in measured}
    return _digest({"dataset": kept["dataset"], "protocol": protocol})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(canonical(value), sort_keys=True).encode()).hexdigest()[:12]


def canonical(value: Any, below: float = math.inf) -> Any:
    """Return the value with whole floats smaller than `below` as integers: 1.0 becomes 1."""
    if isinstance(value, Mapping):
        return {str(k): canonical(v, below) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v, below) for v in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < below:
        return int(value)
    return value
