"""What tells settings apart: the keys in which they differ, and a short name for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hapens_bench.analysis.query import as_number, as_text
from hapens_bench.config.dotted import flat
from hapens_bench.config.identity import identity

Values = Mapping[str, str]


def values(config: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, str]:
    """Return what identifies a setting, by dotted key.

    That is everything that can change its result, except the seed and the keys in `without`.
    """
    return {
        k: as_text(v)
        for k, v in sorted(flat(identity(config)).items())
        if k != "seed" and k not in without
    }


def differing(settings: Sequence[Values]) -> list[str]:
    """Return the keys in which settings differ.

    A class is listed only where its name does not already differ. The requested selections are
    listed only where nothing else tells two settings apart, because each selection is reported in
    a row of its own.
    """
    keys = dict.fromkeys(key for setting in settings for key in setting)
    varying = [key for key in keys if len({setting.get(key) for setting in settings}) > 1]
    varying = [
        key
        for key in varying
        if not (key.endswith("._target_") and key.replace("_target_", "name") in varying)
    ]
    others = [key for key in varying if key != "protocol.selection"]
    told_apart, most = (
        len({tuple(setting.get(key) for key in subset) for setting in settings})
        for subset in (others, varying)
    )
    return others if told_apart == most else varying


def names(settings: Sequence[Values], keys: Sequence[str]) -> list[str]:
    """Name settings by the keys in which they differ, such as `M=16, lr=0.002`.

    Numbers get as many digits as it takes to tell them apart.
    """
    ends = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    short = [end if ends.count(end) == 1 else key for end, key in zip(ends, keys, strict=True)]
    for digits in (3, 6, 17):
        rows = [
            [_rounded(setting.get(key, "unset"), digits) for key in keys] for setting in settings
        ]
        labels = [
            ", ".join(f"{key}={value}" for key, value in zip(short, row, strict=True))
            for row in rows
        ]
        if len(set(labels)) == len(labels):
            break
    return labels


def _rounded(text: str, digits: int) -> str:
    number = as_number(text)
    return text if number is None else f"{number:.{digits}g}"
