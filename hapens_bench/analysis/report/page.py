"""The report page: one file with its data, style and scripts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hapens_bench import __version__
from hapens_bench.analysis.figures.style import line
from hapens_bench.analysis.query import Where, finished, narrow
from hapens_bench.analysis.report.curves import curves
from hapens_bench.analysis.report.leaderboard import (
    KEYS,
    Setting,
    leaderboard,
    metrics_of,
    settings_of,
)
from hapens_bench.analysis.report.significance import significance
from hapens_bench.analysis.rerun import rerun_command
from hapens_bench.errors import UserError
from hapens_bench.metrics import less_is_better
from hapens_bench.runs.ledger import Ledger, load
from hapens_bench.runs.provenance import git_sha

SCRIPTS = (
    "base.js",
    "leaderboard.js",
    "chart.js",
    "curves.js",
    "significance.js",
    "details.js",
    "main.js",
)
OF_A_RUN = ("run_id", "folder", "git_sha", "epochs_trained", "train_seconds", "peak_memory_mb")
DASHES: dict[Any, tuple[float, ...]] = {
    "-": (),
    "--": (4, 2),
    "-.": (5, 2, 1, 2),
    ":": (1, 2),
}  # stroke, gap, ...
# What a script element must not hold; U+2028 and 2029 are escaped by json.
UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def write_report(
    root: Path, out: Path, archive: Path | None = None, where: Where | None = None
) -> Ledger:
    """Write the report of the runs below `root` and of an archive to the file `out`.

    `where` filters the finished runs by config.

    Return the ledger, with everything that was skipped.

    Raises:
        UserError: when there is no such folder, or the file cannot be written.
    """
    if not root.is_dir() and (archive is None or not archive.is_dir()):
        raise UserError(f"there is no folder {root}")
    ledger = load(root, archive)
    if where:
        passing = narrow(finished(ledger.runs), where)
        ledger = replace(ledger, runs=[dict(run.summary) for run in passing])
    text = render(ledger, root)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return ledger


def render(ledger: Ledger, root: Path) -> str:
    """Return the page as text; unusable runs are added to the ledger's `skipped`."""
    settings = settings_of(ledger.runs, ledger.skipped)
    metrics = metrics_of(settings)
    data: dict[str, Any] = {
        f"curves-{k}": curves(setting, metrics, ledger.skipped)
        for k, setting in enumerate(settings)
    }
    data["tests"] = significance(settings, ledger.skipped)
    data["details"] = details(settings)
    data["ledger"] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_sha(),
        "version": __version__,
        "root": str(root),
        "runs": sum(len(setting.runs) for setting in settings),
        "skipped": ledger.skipped,
        "unfinished": [
            {key: _plain(run.get(key)) for key in ("folder", "state", "reason", "time")}
            for run in ledger.unfinished
        ],
        "metrics": metrics,
        "less": [metric for metric in metrics if less_is_better(metric)],
        "settings": {
            key: [getattr(setting, key) for setting in settings] for key in (*KEYS, "keys")
        },
        "validation": [_plain(setting.validation) for setting in settings],
        "strokes": {setting.sampler: stroke(setting.sampler) for setting in settings},
        "rows": leaderboard(settings),
    }
    return _fill({name: data[name] for name in sorted(data)})


def details(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return each setting's details: its runs, its command, and the texts that they share."""
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    runs = [
        [
            {key: _plain(run.get(key)) for key in OF_A_RUN}
            | {"seed": str(run["seed"])}  # JavaScript's numbers end at 2^53
            | {
                "epochs": {
                    selection: report["epoch"] for selection, report in run["selection"].items()
                }
            }
            | {
                "versions": place(_versions(run)),
                "config": None if text is None else [place(section) for section in text],
            }
            for run, text in zip(setting.runs, setting.sections, strict=True)
        ]
        for setting in settings
    ]
    commands = [_command(setting) for setting in settings]
    return {"runs": runs, "commands": commands, "texts": list(texts)}


def stroke(sampler: str) -> list[str]:
    """Return the colour and dashes of a sampler's line in SVG, as in every other picture."""
    look = line(sampler)
    lengths = DASHES[look["linestyle"]] if look["linestyle"] in DASHES else look["linestyle"][1]
    return [look["color"], " ".join(f"{2 * length:g}" for length in lengths)]


def _plain(value: Any) -> Any:
    """Return a value as text, finite number or None, whatever a file held."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _versions(run: Mapping[str, Any]) -> str:
    versions = run.get("versions")
    return (
        ", ".join(f"{name} {version}" for name, version in versions.items())
        if isinstance(versions, Mapping)
        else "unknown"
    )


def _command(setting: Setting) -> dict[str, str]:
    """Return the command without its seed, or the reason why there is none."""
    if setting.config is None:
        return {"words": "no command can be given: config.yaml cannot be read"}
    try:
        return {"line": rerun_command(setting.config)}
    except UserError as error:
        return {"words": str(error)}


def _fill(data: Mapping[str, Any]) -> str:
    """Put style, scripts and data into the page, under a policy that forbids the network."""
    folder = files("hapens_bench.analysis.report")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = '"use strict";\n' + "\n".join(
        (folder / name).read_text(encoding="utf-8") for name in SCRIPTS
    )
    elements = [
        f'<script type="application/json" id="{name}">{escaped(value)}</script>'
        for name, value in data.items()
    ]
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script, "data": "\n".join(elements)}
    page = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


def escaped(value: Any) -> str:
    """Return JSON in which no string can close a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.translate(UNSAFE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
