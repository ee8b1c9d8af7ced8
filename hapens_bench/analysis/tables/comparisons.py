"""What a table says about its methods: their order, and which differences survive a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from hapens_bench.analysis.formats import markdown_rows
from hapens_bench.analysis.replicates import Contrast, contrasts
from hapens_bench.analysis.tables.definition import Cell


def orders(table: pd.DataFrame) -> pd.DataFrame:
    """Return Kendall's tau-b between our order of the methods and the paper's.

    Columns: dataset, metric, selection, methods, tau. Orders of fewer than three methods are left
    out, and so are those without printed numbers or with the same number for all methods.
    """
    rows = []
    for (dataset, metric, selection), group in table.groupby(
        ["dataset", "metric", "selection"], sort=False
    ):
        if len(group) > 2 and group["paper"].notna().all() and group["paper"].nunique() > 1:
            tau = kendalltau(group["mean"], group["paper"]).statistic
            rows.append(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "selection": selection,
                    "methods": len(group),
                    "tau": tau,
                }
            )
    return pd.DataFrame(rows, columns=["dataset", "metric", "selection", "methods", "tau"])


def tests(definition: Mapping[str, Any], filled: Sequence[Cell]) -> pd.DataFrame:
    """Test the methods named by `compare` and `compare_also`, in percentage points.

    Each is tested against all others. Over seeds: paired t and Wilcoxon tests on the common seeds.
    Over users: a sign-flip permutation test on each user's mean over those seeds. Holm's correction
    is over the methods of a data set, metric and selection.
    """
    compared, rows = [definition["compare"], *definition.get("compare_also", [])], []
    run = {(cell.dataset, cell.sampler): cell for cell in filled if cell.runs}
    for mine, dataset, selection, metric in product(
        compared, definition["datasets"], definition["selections"], definition["metrics"]
    ):
        if (dataset, mine) not in run:
            continue
        others = {
            sampler: run[dataset, sampler]
            for sampler in definition["samplers"]
            if sampler != mine and (dataset, sampler) in run
        }
        key = {"dataset": dataset, "metric": metric, "selection": selection, "sampler": mine}
        for other, test in contrasts(run[dataset, mine], others, selection, metric).items():
            if test.seeds.n:
                rows.append({**key, "against": other, **_test_columns(test)})
    return pd.DataFrame(rows)


def _test_columns(test: Contrast) -> dict[str, Any]:
    seeds, users = test.seeds, test.users
    return {
        "seeds": seeds.n,
        "difference": seeds.difference,
        "seeds_low": seeds.low,
        "seeds_high": seeds.high,
        "p_t_holm": test.p_seeds,
        "p_wilcoxon": seeds.p_wilcoxon,
        "p_wilcoxon_least": seeds.p_least,
        "users": users.n,
        "users_low": users.low,
        "users_high": users.high,
        "p_users_holm": test.p_users,
        "words": "; ".join(dict.fromkeys(words for words in (seeds.words, users.words) if words)),
    }


def orders_markdown(table: pd.DataFrame) -> list[str]:
    """Return Markdown lines of `orders`: a row for each data set and metric."""
    if table.empty:
        return []
    wide = table.pivot_table(
        index=["dataset", "metric", "methods"], columns="selection", values="tau", sort=False
    )
    head = ["dataset", "metric", "methods", *wide.columns]
    lines = [
        [*map(str, index), *(f"{tau:+.2f}" for tau in row)]
        for index, row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return [
        "## Order of the methods against the paper's (Kendall's τ)",
        "",
        *markdown_rows(head, lines),
        "",
    ]


def tests_lines(table: pd.DataFrame, selection: str) -> tuple[list[str], list[list[str]]]:
    """Lay the `tests` of one selection out for reading."""
    table = table[table["selection"] == selection] if len(table) else table
    head = ["dataset", "metric", "against", "seeds", "difference", "95% over seeds", "p (t, Holm)"]
    head += ["95% over users", "p (users, Holm)", ""]
    lines = []
    for r in table.to_dict("records"):
        line = [str(r[k]) for k in ("dataset", "metric", "against", "seeds")]
        line += [
            f"{r['difference']:+.2f}",
            _span(r["seeds_low"], r["seeds_high"]),
            _p(r["p_t_holm"]),
        ]
        lines.append(
            [*line, _span(r["users_low"], r["users_high"]), _p(r["p_users_holm"]), r["words"]]
        )
    return head, lines


def tests_markdown(table: pd.DataFrame, selection: str) -> list[str]:
    """Return Markdown lines of the `tests` of one selection."""
    head, lines = tests_lines(table, selection)
    if not lines:
        return []
    return [
        f"## {table['sampler'].iloc[0]} against the others, {selection}",
        "",
        "Differences are in percentage points; positive means better than the other. Over seeds: "
        "paired t test. Over users: sign-flip permutation test on each user's mean over the same "
        "seeds. p-values are Holm-corrected over the methods of a data set and metric. The exact "
        "Wilcoxon test of n seeds (in the CSV, with the other selections) cannot go below "
        "2^(1-n).",
        "",
        *markdown_rows(head, lines),
        "",
    ]


def _span(low: float, high: float) -> str:
    return "–" if pd.isna(low) else f"{low:+.2f} … {high:+.2f}"


def _p(value: float) -> str:
    return "–" if pd.isna(value) else ("<0.001" if value < 0.001 else f"{value:.3f}")
