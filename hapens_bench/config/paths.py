"""Where the YAML defaults are. Hydra is not imported, so that help is printed at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hapens_bench.errors import UserError


def conf_dir() -> Path:
    """Return the folder of YAML defaults: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def user_conf_dir() -> Path:
    """Return the user's own folder of YAML files: $HAPENS_CONFIG or ~/.config/hapens_bench.

    Hydra searches it after `conf_dir`, where there is one.
    """
    return Path(os.environ.get("HAPENS_CONFIG", "~/.config/hapens_bench")).expanduser()


def conf_file(group: str, name: str) -> Path:
    """Return the path conf/<group>/<name>.yaml; `default` is not a choice.

    Raises:
        UserError: when there is no such file.
    """
    path = conf_dir() / group / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != "default"))
        raise UserError(f"there is no {group} {name!r}; choose one of {known}")
    return path


def shipped_archive() -> Path:
    """Return the folder of the archives that are shipped; a wheel has none."""
    return conf_dir().parent / "results" / "archive"


def archive_dir(named: str) -> Path | None:
    """Return the folder of archives that a config's `archive` names; None for `ignore`."""
    if named == "ignore":
        return None
    return shipped_archive() if named == "shipped" else Path(named).expanduser()


def lacks_tuned_file(config: Mapping[str, Any]) -> str | None:
    """Return the missing file of conf/tuned that a config's `tuned` requires, else None."""
    tuned = config.get("tuned") or {}
    names = [config[section]["name"] for section in ("dataset", "model", "sampler")]
    path = conf_dir() / "tuned" / str(tuned.get("name")) / f"{'-'.join(names)}.yaml"
    return (
        f"conf/tuned/{path.parent.name}/{path.name}"
        if tuned.get("required") and not path.is_file()
        else None
    )
