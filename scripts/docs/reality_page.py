"""Fill docs/reality_check.md with the numbers of results/tables/reality_check*.csv.

    hapens table reality_check --activity --ship
    python scripts/docs/reality_page.py

What stands between `<!-- NAME -->` and `<!-- end -->` is written anew; the rest of the page stays.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from hapens_bench.analysis.formats import markdown_rows
from hapens_bench.analysis.tables.definition import read_definition

ROOT = Path(__file__).parents[2]
PAGE, TABLES = ROOT / "docs" / "reality_check.md", ROOT / "results" / "tables"
NOTHING = ["Not run yet."]
Row = dict[str, Any]


class Numbers:
    """The table's numbers: scores by data set and method, tests, and tests by activity."""

    def __init__(self, folder: Path, definition: dict[str, Any]) -> None:
        self.definition, self.metric = definition, definition["metrics"][0]
        self.scores = pd.read_csv(folder / "reality_check.csv")
        self.tests = _read(folder / "reality_check_tests.csv")
        self.activity = _read(folder / "reality_check_activity.csv")
        present = set(self.scores["dataset"])
        self.datasets = [name for name in definition["datasets"] if name in present]

    def score(self, dataset: str, method: str, metric: str) -> float | None:
        """Return a method's mean in percent, or None where it was not run."""
        rows = self.scores.query("dataset == @dataset and sampler == @method and metric == @metric")
        return None if rows.empty else float(rows["mean"].iloc[0])

    def leads(self, mine: str) -> list[Row]:
        """Return every other method's lead over one, with interval and p-values."""
        if self.tests.empty:
            return []
        own = self.tests[(self.tests["sampler"] == mine) & (self.tests["metric"] == self.metric)]
        return [
            {
                "dataset": row["dataset"],
                "method": row["against"],
                "lead": -row["difference"],
                "span": (-row["seeds_high"], -row["seeds_low"]),
                "seeds": row["p_t_holm"],
                "users": row["p_users_holm"],
            }
            for row in own.to_dict("records")
        ]


def standings(numbers: Numbers) -> list[str]:
    """List the best methods of each data set beside the three that others are set against."""
    lines = []
    for dataset in numbers.datasets:
        rows = numbers.scores.query("dataset == @dataset and metric == @numbers.metric")
        best = rows.sort_values("mean", ascending=False).head(3)
        first = ", ".join(f"{r['sampler']} {r['mean']:.2f}" for r in best.to_dict("records"))
        asked = [numbers.score(dataset, name, numbers.metric) for name in ("rns", "sl", "ease")]
        line = [dataset, f"{len(rows)} of {len(numbers.definition['samplers'])}", first]
        lines.append([*line, *map(_number, asked)])
    header = ["data set", "methods run", f"best three by {numbers.metric}", "rns", "sl", "ease"]
    return markdown_rows(header, lines) if lines else NOTHING


def over(mine: str, groups: list[str] | None = None) -> Callable[[Numbers], list[str]]:
    """Return a part of the page: what methods (of some groups) add to one of them."""

    def part(numbers: Numbers) -> list[str]:
        every = numbers.definition["groups"]
        wanted = {name for group in groups or every for name in every[group]}
        rows = [row for row in numbers.leads(mine) if row["method"] in wanted]
        if not rows:
            return NOTHING
        lines = [
            [
                row["dataset"],
                row["method"],
                f"{row['lead']:+.2f}",
                "–" if pd.isna(row["span"][0]) else "{:+.2f} … {:+.2f}".format(*row["span"]),
                _p(row["seeds"]),
                _p(row["users"]),
            ]
            for row in rows
        ]
        header = ["data set", "method", f"less {mine}", "95% over seeds", "p seeds", "p users"]
        return [*markdown_rows(header, lines), "", *verdict(mine, rows)]

    return part


def verdict(mine: str, rows: list[Row]) -> list[str]:
    """Say of each data set who is above and below a method at 5%, over users and over seeds.

    Where seeds have no test, because their differences are all equal, that over users decides.
    """
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        here = [row for row in rows if row["dataset"] == dataset]
        sure = [row for row in here if row["users"] < 0.05 and not row["seeds"] >= 0.05]
        above = ", ".join(row["method"] for row in sure if row["lead"] > 0) or "none"
        below = ", ".join(row["method"] for row in sure if row["lead"] < 0) or "none"
        text = (
            f"- {dataset}: above {mine} at 5% over users and seeds: {above}; below: {below}; "
            f"{len(here) - len(sure)} of {len(here)} cannot be told."
        )
        lines.append(textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False))
    return lines


def items(numbers: Numbers) -> list[str]:
    """Tabulate recall among popular and rare items, and what the lists are made of."""
    metrics = [name for name in numbers.definition["metrics"][1:] if name != "NDCG@20"]
    lines = [
        [dataset, method, *(_number(numbers.score(dataset, method, name)) for name in metrics)]
        for dataset in numbers.datasets
        for method in numbers.definition["samplers"]
        if numbers.score(dataset, method, metrics[0]) is not None
    ]
    return markdown_rows(["data set", "method", *metrics], lines) if lines else NOTHING


def users(numbers: Numbers) -> list[str]:
    """Tabulate what methods add among the users with fewest and with most train items."""
    lines = []
    if numbers.activity.empty:
        return NOTHING
    rows = numbers.activity[numbers.activity["metric"] == numbers.metric]
    for (dataset, method), own in rows.groupby(["dataset", "against"], sort=False):
        ends = own.sort_values("decile").iloc[[0, -1]].to_dict("records")
        shown = [
            f"{-end['difference']:+.2f} ({end['items_low']}–{end['items_high']} items, "
            f"p {_p(end['p'])})"
            for end in ends
        ]
        lines.append([str(dataset), str(method), *shown])
    mine = numbers.definition["compare"]
    header = ["data set", "method", f"less {mine}: newest users", "most active users"]
    return markdown_rows(header, lines)


def cost(numbers: Numbers) -> list[str]:
    """Tabulate the seconds of a training."""
    rows = numbers.scores[numbers.scores["metric"] == numbers.metric]
    wide = rows.pivot(index="sampler", columns="dataset", values="seconds")
    wide = wide.reindex(
        index=[name for name in numbers.definition["samplers"] if name in wide.index]
    )
    lines = [
        [
            str(name),
            *(
                "–" if pd.isna(wide.loc[name, d]) else f"{wide.loc[name, d]:.0f}"
                for d in numbers.datasets
            ),
        ]
        for name in wide.index
    ]
    return markdown_rows(["seconds", *numbers.datasets], lines) if lines else NOTHING


PARTS: dict[str, Callable[[Numbers], list[str]]] = {
    "standings": standings,
    "over rns": over("rns", ["BPR, hard negatives"]),
    "over sl": over("sl", ["softmax losses", "BPR, hard negatives", "newer samplers"]),
    "over ease": over("ease"),
    "items": items,
    "users": users,
    "cost": cost,
}


def filled(page: str, numbers: Numbers) -> str:
    """Return the page with every part written anew."""
    for name, part in PARTS.items():
        text = "\n".join(["", "", *part(numbers), "", ""])
        pattern = rf"(<!-- {re.escape(name)} -->).*?(<!-- end -->)"
        page, n = re.subn(pattern, lambda found, t=text: found[1] + t + found[2], page, flags=re.S)
        if n != 1:
            raise SystemExit(f"{PAGE} has {n} places for {name!r}, but it takes one")
    return page


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float) -> str:
    return "–" if pd.isna(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def main() -> None:
    """Fill the page."""
    numbers = Numbers(TABLES, read_definition("reality_check"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), numbers), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}, {len(numbers.datasets)} data sets")


if __name__ == "__main__":
    main()
