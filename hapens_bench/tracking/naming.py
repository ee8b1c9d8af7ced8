"""What a run is called: a name that says what differs, a group, tags, and a column for each key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hapens_bench.config.dotted import flat, look_up
from hapens_bench.config.identity import identity
from hapens_bench.tracking.sink import RunInfo

SECTIONS = ("dataset", "model", "sampler")
SWEEP = "HAPENS_SWEEP"  # the variable with the sweep of jobs that are started one by one, as JSON


def describe(
    config: Mapping[str, Any], folder: Path, rows: Sequence[Mapping[str, Any]] = ()
) -> RunInfo:
    """Return what the sinks get of a run, whose id is the name of its folder."""
    names = [config[section]["name"] for section in SECTIONS]
    return RunInfo(
        run_id=folder.name,
        name=run_name(config),
        group="-".join(names[:2]),
        tags=(*names, config["protocol"]["name"]),
        folder=folder,
        config=dict(config),
        columns=columns(config),
        rows=tuple(rows),
    )


def label(config: Mapping[str, Any]) -> str:
    """Return the name that the trials of a setting share, such as `tools-mf-dns`."""
    return "-".join(config[section]["name"] for section in SECTIONS)


def run_name(config: Mapping[str, Any]) -> str:
    """Return a name such as `tools-mf-dns-M8-s0`.

    It has the keys that `sweep.keys` lists: those in which the jobs of its sweep differ, or those
    that were typed for a single run. Runs from before there was such a list have none of them.
    """
    listed = (config.get("sweep") or {}).get("keys", [])
    values = {key: look_up(config, key) for key in listed}
    values = {key: value for key, value in values.items() if value is not ...}
    ends = [_end(key) for key in values]
    parts = [
        _part(key if ends.count(_end(key)) > 1 else _end(key), value)
        for key, value in values.items()
    ]
    return "-".join([label(config), *parts, f"s{config['seed']}"])


def columns(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column for each hyper-parameter (`sampler.M`), each choice, the seed and the sweep.

    They are the keys that can change a result, and all keys of the trainer.
    """
    chosen = {name: config[name]["name"] for name in (*SECTIONS, "protocol", "loss")}
    kept = flat({**identity(config), "trainer": config["trainer"]})
    keys = {key: value for key, value in kept.items() if _end(key) not in ("name", "_target_")}
    return chosen | {"sweep": (config.get("sweep") or {}).get("id")} | keys


def _end(key: str) -> str:
    return key.rpartition(".")[2]


def _part(key: str, value: Any) -> str:
    if _end(key) == "name":
        return str(value)
    if isinstance(value, list):
        return f"{key}={'+'.join(map(str, value))}"
    if value is None or isinstance(value, bool):
        return f"{key}={json.dumps(value)}"
    return f"{key}{value}" if isinstance(value, (int, float)) else f"{key}={value}"
