"""The lines of a figure: the runs of one setting with different seeds, and a name for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hapens_bench.analysis.labels import differing, names, values
from hapens_bench.analysis.query import NAMES, Finished, natural
from hapens_bench.config.dotted import look_up
from hapens_bench.errors import UserError

Definition = Mapping[str, Any]  # of a figure, as in conf/figure
PLACE = ["dataset", "model", "protocol"]  # what a panel is for
KEYS = [*PLACE, "sampler", "setting"]  # what a line is, in every frame


@dataclass(frozen=True)
class Line:
    """The runs of one setting of a sampler; `setting` is empty if the panel has no other one."""

    place: tuple[str, ...]
    sampler: str
    setting: str
    runs: list[Finished]

    @property
    def columns(self) -> dict[str, str]:
        """The columns that name the line in a frame."""
        return dict(zip(KEYS, [*self.place, self.sampler, self.setting], strict=True))


def lines(
    runs: Sequence[Finished], most: int, varied: Callable[[Finished], Collection[str]]
) -> list[Line]:
    """Group runs that differ in nothing but the seed and the `varied` keys.

    Raises:
        UserError: when a panel would get more than `most` lines, or runs on different data.
    """
    drawn: list[Line] = []
    for place, here in _grouped(
        runs, lambda run: tuple(str(look_up(run.config, NAMES[key])) for key in PLACE)
    ):
        hashes = sorted({run.summary["data_hash"] for run in here})
        if len(hashes) > 1:
            text = f"the runs on {place[0]} were made on different data ({', '.join(hashes)})"
            raise UserError(f"{text}; move the run folders of one of them away")
        panel, differ_in = [], set()
        for sampler, members in _grouped(here, lambda run: run.config["sampler"]["name"]):
            groups = _grouped(members, lambda run: tuple(values(run.config, varied(run)).items()))
            settings = [(dict(items), replicates) for items, replicates in groups]
            keys = differing([setting for setting, _ in settings])
            settings.sort(key=lambda pair: [natural(pair[0].get(key, "")) for key in keys])
            called = names([setting for setting, _ in settings], keys)
            panel += [
                Line(place, sampler, name, replicates)
                for name, (_, replicates) in zip(called, settings, strict=True)
            ]
            differ_in |= set(keys)
        if len(panel) > most:
            several = ["sampler"] if len({line.sampler for line in panel}) > 1 else []
            raise UserError(
                f"{len(panel)} settings would be drawn on {place[0]}, "
                f"and at most {most} can be told apart; "
                f"take fewer with --where, by {', '.join([*several, *sorted(differ_in)])}"
            )
        drawn += panel
    return drawn


def _grouped(
    runs: Sequence[Finished], key: Callable[[Finished], Hashable]
) -> list[tuple[Any, list[Finished]]]:
    groups: dict[Hashable, list[Finished]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.items())
