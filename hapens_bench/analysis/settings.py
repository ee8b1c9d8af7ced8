"""Which runs are one line of a figure: the same setting with different seeds; and what a line is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hapens_bench.analysis.selecting import NAMES, Finished, as_number, as_text, flat, look_up, natural
from hapens_bench.config import identity
from hapens_bench.errors import UserError

Definition = Mapping[str, Any]  # of a figure, as in conf/figure
PLACE = ["dataset", "model", "protocol"]  # what a panel is for
KEYS = [*PLACE, "sampler", "setting"]  # what a line is, in every frame


@dataclass(frozen=True)
class Line:
    """The runs of one setting of a sampler; `setting` is empty where the panel has no other one."""

    place: tuple[str, ...]
    sampler: str
    setting: str
    runs: list[Finished]

    @property
    def columns(self) -> dict[str, str]:
        """Give what names the line in a frame."""
        return dict(zip(KEYS, [*self.place, self.sampler, self.setting], strict=True))


def lines(runs: Sequence[Finished], most: int, varied: Callable[[Finished], Collection[str]]) -> list[Line]:
    """Put runs together that differ in nothing but the seed and the `varied` keys; never runs of different settings.

    Raises:
        UserError: when a panel would get more than `most` lines, or runs on different data.
    """
    found: list[Line] = []
    for place, here in _grouped(runs, lambda run: tuple(str(look_up(run.config, NAMES[key])) for key in PLACE)):
        hashes = sorted({run.summary["data_hash"] for run in here})
        if len(hashes) > 1:
            text = f"the runs on {place[0]} were made on different data ({', '.join(hashes)})"
            raise UserError(f"{text}; move the run folders of one of them away")
        panel, differing = [], set()
        for sampler, own in _grouped(here, lambda run: run.config["sampler"]["name"]):
            settings = [(dict(key), part) for key, part in _grouped(own, lambda run: _setting(run, varied(run)))]
            keys = _differing([setting for setting, _ in settings])
            settings.sort(key=lambda pair: [natural(pair[0].get(key, "")) for key in keys])
            names = _names([setting for setting, _ in settings], keys)
            panel += [Line(place, sampler, name, part) for name, (_, part) in zip(names, settings, strict=True)]
            differing |= set(keys)
        if len(panel) > most:
            several = ["sampler"] if len({one.sampler for one in panel}) > 1 else []
            raise UserError(
                f"{len(panel)} settings would be drawn on {place[0]}, and at most {most} can be told apart; "
                f"take fewer with --where, by {', '.join([*several, *sorted(differing)])}"
            )
        found += panel
    return found


def _grouped(runs: Sequence[Finished], key: Callable[[Finished], Hashable]) -> list[tuple[Any, list[Finished]]]:
    found: dict[Hashable, list[Finished]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return list(found.items())


def _setting(run: Finished, varied: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Give what identifies a setting: all that can change its result, less the seed and the varied keys."""
    kept = sorted(flat(identity(run.config)).items())
    return tuple((key, as_text(value)) for key, value in kept if key != "seed" and key not in varied)


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Give the keys in which settings differ; a class stands for itself only where its name does not."""
    keys = dict.fromkeys(key for one in settings for key in one)
    found = [key for key in keys if len({one.get(key) for one in settings}) > 1]
    return [key for key in found if not (key.endswith("._target_") and key.replace("_target_", "name") in found)]


def _names(settings: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """Name settings by the keys in which they differ; numbers get as many digits as tell them apart."""
    ends = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    short = [end if ends.count(end) == 1 else key for end, key in zip(ends, keys, strict=True)]
    for digits in (3, 6, 17):
        rows = [[_rounded(one.get(key, "unset"), digits) for key in keys] for one in settings]
        names = [", ".join(f"{key}={value}" for key, value in zip(short, row, strict=True)) for row in rows]
        if len(set(names)) == len(names):
            break
    return names


def _rounded(text: str, digits: int) -> str:
    number = as_number(text)
    return text if number is None else f"{number:.{digits}g}"
