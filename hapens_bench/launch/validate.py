"""Whether a config makes sense: every check that needs no data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hapens_bench.config.components import component_class
from hapens_bench.config.compose import ROOT_KEYS
from hapens_bench.config.keys import Key, problems
from hapens_bench.config.paths import lacks_tuned_file
from hapens_bench.errors import UserError
from hapens_bench.launch.fitting import fitting_problems
from hapens_bench.launch.sections import section_problems
from hapens_bench.losses.base import Loss
from hapens_bench.metrics import FULL, parse_metric
from hapens_bench.models.base import Model
from hapens_bench.models.fitted import Fitted, is_fitted
from hapens_bench.samplers.base import Sampler
from hapens_bench.tracking.options import option_problems

SELECTIONS = ("test_peak", "valid", "valid_refit")
BASES: dict[str, tuple[type, ...]] = {
    "model": (Model, Fitted),
    "sampler": (Sampler,),
    "loss": (Loss,),
}
TRAINER_KEYS = {
    "epochs": Key(int, low=1, shared=True),
    "batch_size": Key(int, low=1, shared=True),
    "drop_last": Key(bool, shared=True),
    "optimizer": Key(str, choices=("adam", "adagrad"), shared=True),
    "lr": Key(float, above=0),
    "initial_accumulator": Key(float, low=0, shared=True),
    "reduction": Key(str, choices=("mean", "sum"), shared=True),
    "l2": Key(float, low=0),
    "weight_decay": Key(float, low=0),
    "norm_cap": Key(float, above=0, optional=True),
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
# Those of models that are fitted; a closed form has one epoch.
FITTED_KEYS = {
    name: TRAINER_KEYS[name]
    for name in (
        "epochs",
        "eval_every",
        "patience",
        "engine",
        "threads",
        "eval_memory_mb",
        "checkpoint_seconds",
        "keep_checkpoint",
    )
} | {"device": Key(str, choices=("cpu",))}


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config that cannot be trained, before anything is read or written.

    Raises:
        UserError: with one sentence for each problem.
    """
    faults = list(section_problems(config))
    if faults:
        raise UserError("; ".join(faults))
    faults += problems("", ROOT_KEYS, {k: config[k] for k in ROOT_KEYS if k in config})
    faults += option_problems(config["logger"])
    for section, bases in BASES.items():
        cls = component_class(config[section])
        if not inspect.isclass(cls) or not issubclass(cls, bases):
            raise UserError(
                f"{section}._target_ is {config[section]['_target_']!r}, "
                f"but that is not a {section} class"
            )
    if misfits := list(fitting_problems(config)):
        raise UserError("; ".join([*faults, *misfits]))
    trainer_keys = FITTED_KEYS if is_fitted(config) else TRAINER_KEYS
    faults += problems("trainer", trainer_keys, config["trainer"])
    for section in BASES:
        faults += problems(section, component_class(config[section]).keys, config[section])
    model, sampler, loss = (component_class(config[section]) for section in BASES)
    if not faults:
        faults += [] if is_fitted(config) else model.problems(config["model"])
        faults += sampler.problems(config["sampler"])
        mine, theirs = (config[section]["name"] for section in ("sampler", "loss"))
        if sampler.gives_weights(config["sampler"]) and not loss.weighted:
            faults.append(
                f"sampler={mine} gives weights, but loss={theirs} takes none; "
                "take loss=bpr_sum or loss=sampled_softmax"
            )
        if sampler.gives_positives(config["sampler"]) and not loss.takes_positives:
            faults.append(
                f"sampler={mine} gives several positives, but loss={theirs} takes one; "
                "take loss=var_bpr"
            )
        if sampler.groups != loss.groups:
            takes = {True: "user groups", False: "interactions"}
            faults.append(
                f"sampler={mine} works on {takes[sampler.groups]}, "
                f"but loss={theirs} on {takes[loss.groups]}"
            )
        elif sampler.negatives and not loss.negatives:
            faults.append(
                f"loss={theirs} has no negatives, so sampler={mine} would draw for nothing; "
                "take sampler=directau"
            )
        elif loss.negatives and not sampler.negatives:
            faults.append(
                f"sampler={mine} draws nothing for the loss, but loss={theirs} needs negatives; "
                "take loss=directau"
            )
    if missing := lacks_tuned_file(config):
        faults.append(
            f"tuned={config['tuned']['name']} needs {missing}: "
            "tune first, then hapens choose writes it"
        )
    protocol = config["protocol"]
    selection = Key(list, choices=SELECTIONS)
    if not selection.accepts(protocol["selection"]) or not protocol["selection"]:
        faults.append(
            f"protocol.selection is {protocol['selection']!r}, "
            f"but it takes a list of {', '.join(SELECTIONS)}"
        )
    if not all(isinstance(name, str) for name in protocol["metrics"]):
        faults.append(
            f"protocol.metrics is {protocol['metrics']!r}, but it takes a list of strings"
        )
    elif protocol["monitor"] not in protocol["metrics"]:
        faults.append(
            f"protocol.monitor is {protocol['monitor']!r}, but it must stand in protocol.metrics"
        )
    else:
        for name in protocol["metrics"]:
            parse_metric(name.removeprefix(FULL))
        faults += _ranking_problems(protocol)
    if protocol["mask"] == "train" and "valid_refit" in protocol["selection"]:
        faults.append(
            "protocol.selection has valid_refit, which trains on validation items, but with "
            "protocol.mask=train they stay candidates; leave valid_refit out"
        )
    for key in ("user_hardness", "best_model"):
        if config["trainer"].get(key) and "valid" not in protocol["selection"]:
            faults.append(
                f"trainer.{key} is saved at the epoch chosen by `valid`; "
                "take protocol.selection=[valid]"
            )
    if faults:
        raise UserError("; ".join(text.lstrip(".") for text in faults))


def _ranking_problems(protocol: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each key that does not fit the ranking, full or over candidates."""
    ranking, key = protocol["ranking"], Key(str, choices=("full", "candidates"))
    if not key.accepts(ranking):
        yield f"protocol.ranking is {ranking!r}, but it takes {key.allowed()}"
    elif ranking == "full" and any(name.startswith(FULL) for name in protocol["metrics"]):
        yield (
            f"protocol.metrics names {FULL}..., but protocol.ranking=full has no other ranking "
            f"beside it; leave {FULL} out"
        )
    elif ranking == "candidates":
        if protocol["split"]["kind"] != "leave_one_out":
            yield (
                "protocol.ranking=candidates needs one held-out item a user: "
                "protocol.split.kind=leave_one_out"
            )
        if protocol.get("candidates") is None:
            yield "protocol.ranking=candidates needs protocol.candidates; take protocol=gdns"
        if all(name.startswith(FULL) for name in protocol["metrics"]):
            yield f"protocol.metrics has nothing but {FULL}...; take protocol.ranking=full"
