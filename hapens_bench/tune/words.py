"""The words of `hapens compare`: what is one sampler's own, and what is the machine's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from hapens_bench.config.identity import CANNOT_CHANGE_RESULTS
from hapens_bench.errors import UserError
from hapens_bench.tune.settings import KEYS
from hapens_bench.tune.spaces import check_keys

CHOSEN = ("sampler", "dataset", "model")  # one of each
OWN = re.compile(r"loss|trainer|(sampler|loss|trainer)\.[\w.]+")
MACHINE = re.compile(
    rf"resume|logger|(paths|logger)\.\w+|trainer\.({'|'.join(CANNOT_CHANGE_RESULTS)})"
)
# Settings of the search that the table or the command's own options decide:
DECIDED = {"n_trials": "--trials", "out": "--out", "experiment": "--table"}
UNUSED = ("baseline", "setting")


@dataclass(frozen=True)
class Words:
    """What was typed: three choices, and the other words by what they concern.

    `space` has the keys of which several values are listed, `own` what is set for this sampler
    alone, `machine` what cannot change a result, and `search` the words tune.KEY=VALUE.
    """

    sampler: str
    dataset: str
    model: str | None
    space: dict[str, str]
    own: list[str]
    machine: list[str]
    search: list[str]


def read_words(typed: Sequence[str]) -> Words:
    """Sort what was typed.

    Raises:
        UserError: for a word that is the table's, several samplers or data sets, or none.
    """
    search = [text for text in typed if text.startswith("tune.")]
    _check_search(search)
    rest = [text for text in typed if not text.startswith("tune.")]
    choices: dict[str, str] = {}
    space: dict[str, str] = {}
    own: list[str] = []
    machine: list[str] = []
    for override in OverridesParser.create().parse_overrides(rest):
        key, text = override.key_or_group, override.input_line or ""
        if key in CHOSEN:
            choices[key] = _one(override)
        elif MACHINE.fullmatch(key):
            machine.append(text)
        elif override.is_sweep_override():
            space[key] = text.partition("=")[2]
        elif OWN.fullmatch(key):
            own.append(text)
        elif key == "archive":
            raise UserError("hapens compare takes its archive as --archive DIR")
        else:
            raise UserError(
                f"{key} is the same for all methods of a table; hapens compare takes sampler, "
                "dataset, model, keys of sampler, loss and trainer, paths.KEY and tune.KEY"
            )
    check_keys(space, "the command")
    if missing := [key for key in ("sampler", "dataset") if key not in choices]:
        raise UserError(
            f"hapens compare lacks {' and '.join(missing)}; "
            "it takes words like sampler=mine dataset=tools"
        )
    return Words(
        choices["sampler"], choices["dataset"], choices.get("model"), space, own, machine, search
    )


def _check_search(words: Sequence[str]) -> None:
    for word in words:
        key = word.partition("=")[0].removeprefix("tune.")
        if key in DECIDED:
            raise UserError(f"hapens compare takes no tune.{key}; take {DECIDED[key]}")
        if key in UNUSED:
            allowed = ", tune.".join(k for k in KEYS if k not in (*DECIDED, *UNUSED))
            raise UserError(f"hapens compare takes no tune.{key}; it takes tune.{allowed}")


def _one(override: Override) -> str:
    value = override.value()
    if override.is_sweep_override() or not isinstance(value, str):
        raise UserError(
            f"{override.input_line} is no single {override.key_or_group}; "
            "hapens compare takes one sampler and one data set at a time"
        )
    return str(value)
