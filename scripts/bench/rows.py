"""What sections of a benchmark share: a row of the result, and the settings measured."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
SETTINGS = {
    "rns": ["sampler=rns"],
    "dns": ["sampler=dns", "sampler.M=32"],
    "ahns": ["sampler=ahns", "sampler.M=32"],
}
POOLS = {"rns": 1, "dns": 32, "ahns": 32}


def row(section: str, case: str, way: str, value: float | str, base: float | str | None) -> Row:
    if isinstance(value, str):
        return {"section": section, "case": case, "way": way, "note": value}
    ratio = value / base if isinstance(base, float) else None
    return {"section": section, "case": case, "way": way, "value": value, "ratio": ratio}
