"""What a trial writes into summary.json, checked before anything else reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapens_bench.metrics import is_overall
from hapens_bench.runs.files import DamagedRun

OF_A_RUN = ["run_id", "config_id", "split_id", "dataset", "protocol", "model", "sampler", "seed"]


def check_summary(summary: Mapping[str, Any]) -> None:
    """Refuse a summary that no trial has written.

    Raises:
        DamagedRun: naming the keys that are missing or wrong.
    """
    missing = [
        key for key in (*OF_A_RUN, "selection", "data_hash", "git_sha") if key not in summary
    ]
    if missing:
        raise DamagedRun(f"summary.json lacks {', '.join(missing)}")
    wrong = [
        key
        for key in (*OF_A_RUN, "data_hash", "git_sha")
        if type(summary[key]) is not (int if key == "seed" else str)
    ]
    reports = summary["selection"]
    if not isinstance(reports, dict) or not all(map(_is_report, reports.values())):
        wrong.append("selection")
    if wrong:
        raise DamagedRun(
            f"summary.json is not a trial's: a trial writes other values of {', '.join(wrong)}"
        )


def without_overall(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Return reports without the measures of all lists, which older runs lack."""
    return {
        name: {
            **report,
            "test": {key: x for key, x in report["test"].items() if not is_overall(key)},
        }
        for name, report in selection.items()
    }


def _is_report(report: Any) -> bool:
    """Return whether a selection's entry is complete.

    It has an epoch, whether it converged, and test metrics (null: not a number).
    """
    if (
        not isinstance(report, dict)
        or type(report.get("epoch")) is not int
        or type(report.get("converged")) is not bool
    ):
        return False
    test = report.get("test")
    return isinstance(test, dict) and all(
        value is None or type(value) in (int, float) for value in test.values()
    )
