"""The file of a sampler of one's own, which a run id does not know."""

from __future__ import annotations

import inspect
from pathlib import Path

import hapens_bench
from hapens_bench.config.components import component_class
from hapens_bench.launch.job import Config
from hapens_bench.runs.folder import run_folder


def source_of(config: Config) -> Path | None:
    """Return the file of a sampler's class where it is not one of the suite's."""
    path = Path(inspect.getfile(component_class(config["sampler"]))).resolve()
    return None if path.is_relative_to(Path(hapens_bench.__file__).resolve().parent) else path


def outdated(config: Config) -> str | None:
    """Return a sentence on runs that are older than the sampler's file, where there are any.

    They count as they are: a run id is of the config, not of the code.
    """
    file = source_of(config)
    if file is None:
        return None
    folder = run_folder(config).path.parent
    changed = file.stat().st_mtime
    n = sum(path.stat().st_mtime < changed for path in folder.glob("*/status.json"))
    if not n:
        return None
    return (
        f"{file.name} is newer than {n} runs in {folder}, which count as they are: a run id does "
        "not know code. To train anew, change the name in the sampler's YAML, or take another "
        "paths.runs"
    )
