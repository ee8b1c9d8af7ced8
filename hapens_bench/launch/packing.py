"""Which jobs may share a pack, how work is divided, and the training of a group in packs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from hapens_bench.config.components import COMPONENTS, component_class
from hapens_bench.config.identity import run_id
from hapens_bench.launch.devices import activate
from hapens_bench.launch.job import Config, Job, load_split
from hapens_bench.launch.pack_size import largest_pack
from hapens_bench.launch.run import run_pack, tell_ended
from hapens_bench.models.fitted import is_fitted
from hapens_bench.tracking.news import Tell

# Numbers of the trainer that may differ within a pack.
PER_TRIAL = ("lr", "l2", "weight_decay", "norm_cap")


def pack_key(config: Config) -> str:
    """Return, as text, all that the trials of a pack have in common.

    That is all but the seed, keys that stay on the host, and numbers that are tensors [T, 1, 1]. A
    model that is fitted shares a pack with nothing.
    """
    if is_fitted(config):
        return json.dumps([run_id(config), config["paths"]], sort_keys=True)
    common: dict[str, Any] = {name: config[name] for name in ("dataset", "protocol", "paths")}
    common["trainer"] = {
        name: value for name, value in config["trainer"].items() if name not in PER_TRIAL
    }
    for section in COMPONENTS:
        keys = component_class(config[section]).keys
        shared = {name: config[section][name] for name, key in keys.items() if key.shared}
        common[section] = {"_target_": config[section]["_target_"], **shared}
    return json.dumps(common, sort_keys=True, default=str)


def group(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group the jobs that may share a pack, in the order in which they were asked for."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(pack_key(job.config), []).append(job)
    return list(groups.values())


def cost(jobs: Sequence[Job]) -> float:
    """Estimate what jobs of a group cost, in an arbitrary unit.

    It is trials x epochs x train pairs x (candidates + 8); the 8 stands for the rest of a step.
    """
    config = jobs[0].config
    M = config["sampler"].get(component_class(config["sampler"]).pool_key, 1)
    return len(jobs) * config["trainer"]["epochs"] * len(load_split(config).train) * float(M + 8)


def shares(groups: Sequence[Sequence[Job]], n: int, most: int | None = None) -> list[Sequence[Job]]:
    """Cut groups into shares so that n devices have about equal work, longest first.

    No share costs more than an n-th of everything, and none has more than `most` jobs.
    """
    total = sum(cost(members) for members in groups)
    cut: list[Sequence[Job]] = []
    for members in groups:
        pieces = min(len(members), max(1, -(-int(cost(members) * n) // max(1, int(total)))))
        size = min(-(-len(members) // pieces), most or len(members))
        cut += [members[at : at + size] for at in range(0, len(members), size)]
    return sorted(cut, key=cost, reverse=True)


def run_group(
    jobs: Sequence[Job],
    device: torch.device,
    max_trials: int | None,
    tell: Tell,
    threads: int | None = None,
) -> None:
    """Train jobs that may share packs, in packs as large as the device's memory allows."""
    if is_fitted(jobs[0].config):
        device = torch.device("cpu")
    activate(device, jobs[0].config["trainer"]["threads"] or threads)
    size = len(jobs) if max_trials is None else min(max_trials, len(jobs))
    if size > 1:
        size = min(size, largest_pack(jobs[0].config, size, device))
    for at in range(0, len(jobs), size):
        try:
            run_pack(jobs[at : at + size], device, tell)
        except Exception as error:  # an error in one pack must not end the others
            for job in jobs[at : at + size]:
                if job.state == "to run":
                    job.state, job.reason = "failed", f"{type(error).__name__}: {error}"
            tell_ended(jobs[at : at + size], tell)
