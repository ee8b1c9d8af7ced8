"""What a sweep is at, from the news of its packs: counts, time left, best validation values."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from hapens_bench.tracking.naming import label, run_name
from hapens_bench.tracking.news import Began, Ended, Epoch, News

OVER = ("done", "failed", "pruned", "busy", "interrupted")


class Run:
    """A trial of the sweep, and how far it is."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.label, self.name = label(config), run_name(config)
        self.monitor = str(config["protocol"]["monitor"])
        self.state = "left"  # then running, then one of OVER
        self.part = self.part_before = 0.0
        self.best: float | None = None

    def see(self, value: float | None) -> None:
        """Take a validation value."""
        if value is not None and (self.best is None or value > self.best):
            self.best = value


class Board:
    """The trials of a sweep, by run id; news may come while another thread reads."""

    def __init__(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        self.runs = {name: Run(config) for name, config in configs.items()}
        self.packs: dict[str, Epoch] = {}  # the last epoch of each pack, by its first trial
        self.begun = time.monotonic()
        self.lock = Lock()

    def take(self, news: News) -> list[Run]:
        """Take news; return the trials that it says are over now."""
        with self.lock:
            if isinstance(news, Began):
                for name, (part, best) in news.runs.items():
                    run = self.runs[name]
                    run.state, run.part, run.part_before = "running", part, part
                    run.see(best)
            elif isinstance(news, Epoch):
                for step in news.steps:
                    self.runs[step.run].part = step.part
                    self.runs[step.run].see(step.valid)
                names = {step.run for step in news.steps}
                self.packs = {
                    first: pack
                    for first, pack in self.packs.items()
                    if names.isdisjoint(step.run for step in pack.steps)
                } | {news.steps[0].run: news}
            else:
                return self._end(news)
            return []

    def _end(self, news: Ended) -> list[Run]:
        over = [self.runs[name] for name in news.runs if self.runs[name].state not in OVER]
        for run in over:
            run.state, run.part = news.state, 1.0
        self.packs = {
            first: pack
            for first, pack in self.packs.items()
            if any(self.runs[step.run].state == "running" for step in pack.steps)
        }
        return over

    def counts(self) -> Counter[str]:
        """Return how many trials are in each state."""
        return Counter(run.state for run in self.runs.values())

    def by_label(self) -> dict[str, tuple[Counter[str], Run | None]]:
        """Return, in the order of the sweep, each label's counts and its best trial so far.

        The best is that with the best validation value, if any has one.
        """
        found: dict[str, tuple[Counter[str], Run | None]] = {}
        for run in self.runs.values():
            counts, best = found.get(run.label, (Counter(), None))
            counts[run.state] += 1
            if run.best is not None and (best is None or run.best > (best.best or 0.0)):
                best = run
            found[run.label] = counts, best
        return found

    def seconds(self) -> float:
        """Return the time since the sweep began."""
        return time.monotonic() - self.begun

    def seconds_left(self) -> float | None:
        """Estimate the time to the end from the epochs so far, or None before there are any.

        Trials that stop early make it shorter.
        """
        gained = sum(run.part - run.part_before for run in self.runs.values())
        if gained <= 0:
            return None
        missing = sum(1 - run.part for run in self.runs.values())
        return self.seconds() * missing / gained

    def summary(self) -> str:
        """Return the counts and the time left in words."""
        counts = self.counts()
        words = [f"{counts['done']} of {len(self.runs)} done"]
        words += [
            f"{counts[state]} {state}" for state in ("running", "left", *OVER[1:]) if counts[state]
        ]
        left = self.seconds_left()
        if left:
            words.append(f"about {spell(left)} to go")
        return ", ".join(words)

    def pack_text(self, pack: Epoch) -> str:
        """Return a line on a pack: which trials, how far, and the range of their losses."""
        first, n = self.runs[pack.steps[0].run], len(pack.steps)
        name = first.name if n == 1 else f"{first.label} x {n}"
        loss = span("loss", [step.loss for step in pack.steps])
        return f"{name} {pack.stage} epoch {pack.epoch} of {pack.epochs}{loss}"

    def metrics_text(self, pack: Epoch) -> str:
        """Return the ranges of the monitored metric, where it was measured after this epoch."""
        monitor = self.runs[pack.steps[0].run].monitor
        return span(f"valid/{monitor}", [step.valid for step in pack.steps]) + span(
            f"test/{monitor}", [step.test for step in pack.steps]
        )


def span(title: str, values: Sequence[float | None]) -> str:
    """Return a title with the least and the greatest value, or nothing where there is none."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    return f"  {title} {min(found):.4f}" + (f"..{max(found):.4f}" if len(values) > 1 else "")


def spell(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
