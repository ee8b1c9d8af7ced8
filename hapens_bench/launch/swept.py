"""What tells the runs of a sweep apart: its id, and the keys in which its jobs differ.

Both go into the section `sweep` of a run's config, which is no part of its identity. Names in
trackers and in lines of progress are made from it, while it runs and later by `hapens push`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hapens_bench.config.dotted import flat
from hapens_bench.config.identity import identity, run_id
from hapens_bench.launch.job import Config, Job
from hapens_bench.tracking.naming import label


def mark(jobs: Sequence[Job]) -> None:
    """Enter the sweep of these jobs into their configs, and into those of what they need first."""
    sweep = sweep_of(jobs)
    for job in jobs:
        enter(job, sweep)


def sweep_of(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the id of a sweep and, for each data set, model and sampler, the differing keys.

    The same jobs have the same id, so a sweep that is typed again goes on under it.
    """
    ids = json.dumps(sorted(run_id(job.config) for job in jobs))
    groups: dict[str, list[Config]] = {}
    for one in (one for job in jobs for one in chain(job)):
        groups.setdefault(label(one.config), []).append(one.config)
    return {
        "id": hashlib.sha256(ids.encode()).hexdigest()[:8],
        "keys": {name: differing(configs) for name, configs in groups.items()},
    }


def enter(job: Job, sweep: Mapping[str, Any]) -> None:
    """Enter a sweep into the configs of one of its jobs and of what that needs first."""
    for one in chain(job):
        keys = sweep["keys"].get(label(one.config), [])
        one.config = {**one.config, "sweep": {"id": sweep["id"], "keys": keys}}


def enter_typed(job: Job) -> None:
    """Enter the keys that were typed for a single run."""
    known = flat(identity(job.config))
    typed = [override.lstrip("+").partition("=")[0] for override in job.overrides]
    keys = [key for key in dict.fromkeys(typed) if key in known and key != "seed"]
    enter(job, {"id": None, "keys": {label(job.config): keys}})


def chain(job: Job) -> Iterator[Job]:
    """Yield a job, and what must be done before it."""
    needed: Job | None = job
    while needed is not None:
        yield needed
        needed = needed.prerequisite


def differing(configs: Iterable[Config]) -> list[str]:
    """Return the keys in which configs differ, without the seed.

    Where they differ in the choice of a section (`loss=bpr,hinge`), that section's own keys are
    compared among the configs of each choice.
    """
    values: dict[tuple[str, str], list[str]] = {}
    sections: Counter[tuple[str, str]] = Counter()
    for config in configs:
        kept = identity(config)
        del kept["seed"]
        choices = {section: str(keys["name"]) for section, keys in kept.items()}
        sections.update([*choices.items(), *((section, "") for section in choices)])
        for key, value in flat(kept).items():
            section, _, end = key.partition(".")
            choice = "" if end == "name" else choices[section]
            values.setdefault((key, choice), []).append(repr(value))
    several = [
        key
        for (key, choice), found in values.items()
        if len(set(found)) > 1 or len(found) < sections[key.partition(".")[0], choice]
    ]
    return [key for key in dict.fromkeys(several) if not key.endswith("._target_")]
