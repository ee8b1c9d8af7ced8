"""The sections of a config that name a class, and the class."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from hapens_bench.errors import UserError

COMPONENTS = ("model", "sampler", "loss")


def component_class(config: Mapping[str, Any]) -> Any:
    """Return the class that a component's `_target_` names.

    Raises:
        UserError: when it cannot be imported.
    """
    module, _, name = str(config.get("_target_")).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"cannot import {config.get('_target_')!r}: {error}") from error
