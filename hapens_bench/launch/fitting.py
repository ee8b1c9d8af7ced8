"""Whether what a model is fitted or trained with goes with the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hapens_bench.config.components import component_class
from hapens_bench.losses.none import NoLoss
from hapens_bench.models.fitted import is_closed_form, is_fitted
from hapens_bench.samplers.none import NoSampler

# Keys that a closed form has for the trainer's sake only, and the one value that they may have.
OF_ONE_EPOCH = {"epochs": 1, "eval_every": 1, "patience": None}


def fitting_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each section that is not for this kind of model.

    A model that is fitted has neither negatives nor a loss nor gradient steps; the others have all
    three.
    """
    names = {section: config[section]["name"] for section in ("model", "sampler", "loss")}
    stand_ins = {"sampler": NoSampler, "loss": NoLoss}
    none = {
        section: issubclass(component_class(config[section]), cls)
        for section, cls in stand_ins.items()
    }
    model = f"model={names['model']}"
    if not is_fitted(config):
        if any(none.values()):
            which = " and ".join(f"{section}=none" for section in stand_ins if none[section])
            yield (
                f"{model} is trained on negatives, so it cannot have {which}; take others, or "
                "model=popularity, itemknn, ease or ials"
            )
        return
    for section, what in {"sampler": "negatives", "loss": "a loss"}.items():
        if not none[section]:
            yield f"{model} is fitted without {what}; leave out {section}={names[section]}"
    trainer = config["trainer"]
    if "lr" in trainer:
        yield (
            f"{model} is fitted without gradient steps, so trainer={trainer['name']} is not for "
            f"it; take trainer={'fitted' if is_closed_form(config) else 'ials'}"
        )
    elif is_closed_form(config):
        for key, value in OF_ONE_EPOCH.items():
            if trainer.get(key) != value:
                yield (
                    f"trainer.{key} is {trainer.get(key)}, but {model} is fitted in one epoch; "
                    "leave it out"
                )
    if config["protocol"]["negatives"] != "all":
        yield (
            f"protocol.negatives is {config['protocol']['negatives']}, but {model} has no "
            "negatives; leave it out"
        )
