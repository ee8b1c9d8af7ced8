"""What tells settings apart: the keys in which their configs differ, and a short name for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hapens_bench.analysis.query import as_number, as_text, flat
from hapens_bench.config.identity import identity

Values = Mapping[str, str]


def values(config: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, str]:
    """Give what identifies a setting, by dotted keys: all that can change its result, less the seed and the keys `without`."""
    return {
        k: as_text(v)
        for k, v in sorted(flat(identity(config)).items())
        if k != "seed" and k not in without
    }


def differing(settings: Sequence[Values]) -> list[str]:
    """Give the keys in which settings differ.

    A class stands for itself only where its name does not, and the selections that were asked for only where nothing else tells two
    settings apart: what each selection reports stands in a row of its own.
    """
    keys = dict.fromkeys(key for one in settings for key in one)
    found = [key for key in keys if len({one.get(key) for one in settings}) > 1]
    found = [
        key
        for key in found
        if not (key.endswith("._target_") and key.replace("_target_", "name") in found)
    ]
    others = [key for key in found if key != "protocol.selection"]
    told, all_told = (
        len({tuple(one.get(key) for key in part) for one in settings}) for part in (others, found)
    )
    return others if told == all_told else found


def names(settings: Sequence[Values], keys: Sequence[str]) -> list[str]:
    """Name settings by the keys in which they differ, `M=16, lr=0.002`; numbers get as many digits as tell them apart."""
    ends = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    short = [end if ends.count(end) == 1 else key for end, key in zip(ends, keys, strict=True)]
    for digits in (3, 6, 17):
        rows = [[_rounded(one.get(key, "unset"), digits) for key in keys] for one in settings]
        found = [
            ", ".join(f"{key}={value}" for key, value in zip(short, row, strict=True))
            for row in rows
        ]
        if len(set(found)) == len(found):
            break
    return found


def _rounded(text: str, digits: int) -> str:
    number = as_number(text)
    return text if number is None else f"{number:.{digits}g}"
