"""The combinations of overrides that list several values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hydra.core.override_parser.types import Override, ParsedElementType, QuotedString, Transformer
from hydra.errors import HydraException

from hapens_bench.config.quoting import hydra_value


def combinations(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return every combination, each as overrides of one value; of a key typed twice the last wins.

    That is what Hydra's basic sweeper does, except that quoted texts stay quoted.

    Raises:
        HydraException: for an interval, whose values cannot be listed.
    """
    listed: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            texts = [override.get_value_element_as_str()]
        elif override.is_discrete_sweep():
            texts = [_text(value) for value in override.sweep_iterator()]
        else:
            raise HydraException(f"{override.input_line} is an interval, but a sweep lists values")
        listed[key] = [f"{key}={text}" for text in texts]
    return list(itertools.product(*listed.values()))


def _text(value: ParsedElementType) -> str:
    if isinstance(value, QuotedString):
        return hydra_value(value.text)
    if isinstance(value, str) and "${" not in value:  # choice('a b') has lost its quotes
        return hydra_value(value)
    return Transformer.str(value)
