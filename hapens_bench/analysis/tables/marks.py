"""The marks of a table's numbers: the best, the second, what was tested, what has not converged."""

from __future__ import annotations

import math

from hapens_bench.analysis.formats import Entry
from hapens_bench.analysis.replicates import Standing

LEVEL = 0.05


def show(mean: float, std: float, converged: bool, name: str, best: Standing | None) -> Entry:
    """Return a mean with its marks."""
    text = (
        f"{mean:.2f}" + ("" if math.isnan(std) else f" ± {std:.2f}") + ("" if converged else " !")
    )
    if best is None or best.second is None or name not in (best.best, best.second):
        return Entry(text)
    if name == best.second:
        return Entry(text, place=2)
    return Entry(
        text + ("†" if best.seeds < LEVEL else "") + ("‡" if best.users < LEVEL else ""), place=1
    )
