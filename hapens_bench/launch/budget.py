"""Equal budgets: equally many settings for every sampler, over its own space and the shared one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, QuotedString, RangeSweep
from hydra.errors import HydraException

from hapens_bench.config.quoting import hydra_value
from hapens_bench.errors import UserError

Sweep = ChoiceSweep | RangeSweep | IntervalSweep
# The sequence always has 16 dimensions, so a key's values do not depend on the keys after it.
DIMENSIONS = 16


def settings(
    shared: Mapping[str, str], own: Mapping[str, str], n_trials: int | None, seed: int
) -> list[list[str]]:
    """Return the settings to try, as overrides: points of a scrambled Halton sequence, or the grid.

    Values of a space are written in Hydra's grammar: `4,8,16`, `range(1,5)`, `interval(0,1)`,
    `tag(log, interval(1e-5,1e-1))`. Setting k has the same values of the shared keys for every
    sampler, and a larger budget begins with the settings of a smaller one. `n_trials` None asks for
    the whole grid, which takes no intervals.

    Raises:
        UserError: for a space that cannot be read or drawn from.
    """
    space = parse_space({**shared, **own})
    if n_trials is None:
        choices = [
            [f"{key}={written(value)}" for value in values(key, sweep)]
            for key, sweep in space.items()
        ]
        return [list(point) for point in itertools.product(*choices)]
    if n_trials < 1 or len(space) > DIMENSIONS:
        raise UserError(
            f"a budget has at least 1 trial and at most {DIMENSIONS} keys, "
            f"not {n_trials} trials of {len(space)} keys"
        )
    from scipy.stats import qmc  # takes a second to import, and only budgets need it

    points = qmc.Halton(DIMENSIONS, rng=np.random.default_rng(seed)).random(n_trials)
    return [
        [f"{key}={_at(u, space[key], key)}" for key, u in zip(space, point, strict=False)]
        for point in points
    ]


def method_of(sampler: str, model: str) -> str:
    """Return what is compared: the sampler or, where that is none, the model."""
    return model if sampler == "none" else sampler


def space_of(spaces: Mapping[str, Mapping[str, str]], method: str) -> Mapping[str, str]:
    """Return a method's own space.

    Raises:
        UserError: when it has none (an empty one is written {}).
    """
    if method not in spaces:
        raise UserError(
            f"hydra.sweeper.own has no space for {method}; it has {', '.join(spaces)} "
            "(write {} for one without keys)"
        )
    return spaces[method]


def parse_space(texts: Mapping[str, str]) -> dict[str, Sweep]:
    """Parse the values that keys may take.

    Raises:
        UserError: for a text that cannot be read.
    """
    return {key: _parse(key, text) for key, text in texts.items()}


def values(key: str, sweep: Sweep) -> Sequence[object]:
    """Return the values of a choice or a range.

    Raises:
        UserError: for an interval.
    """
    if isinstance(sweep, IntervalSweep):
        raise UserError(
            f"the space of {key} is an interval, which a grid cannot try; "
            "set hydra.sweeper.n_trials or list values"
        )
    return sweep.list if isinstance(sweep, ChoiceSweep) else list(sweep.range())


def bounds(key: str, sweep: IntervalSweep) -> tuple[float, float, bool]:
    """Return both ends of an interval, and whether it is uniform in the logarithm.

    Raises:
        UserError: when a log interval does not begin above 0.
    """
    low, high, log = float(sweep.start or 0), float(sweep.end or 0), "log" in sweep.tags
    if log and low <= 0:
        raise UserError(
            f"the space of {key} is a log interval from {low}, but it must begin above 0"
        )
    return low, high, log


def shown(x: float) -> str:
    """Format a number of an interval as it is tried: with three digits."""
    return f"{x:.3g}"


def written(value: object) -> str:
    """Return a value of a choice or a range as it is typed in an override."""
    return value.with_quotes() if isinstance(value, QuotedString) else hydra_value(value)


def _parse(key: str, text: object) -> Sweep:
    try:
        sweep = OverridesParser.create().parse_override(f"{key}={text}").value()
    except HydraException as error:
        raise UserError(
            f"the space of {key} cannot be read: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(sweep, (ChoiceSweep, RangeSweep, IntervalSweep)):
        raise UserError(
            f"the space of {key} is {text!r}, "
            "but it takes a list like 4,8,16, a range(...) or an interval(...)"
        )
    return sweep


def _at(u: float, sweep: Sweep, key: str) -> str:
    """Map u in [0, 1) into a space; numbers of intervals have three digits."""
    if not isinstance(sweep, IntervalSweep):
        listed = values(key, sweep)
        return written(listed[int(u * len(listed))])
    low, high, log = bounds(key, sweep)
    return shown(low * (high / low) ** u if log else low + (high - low) * u)
