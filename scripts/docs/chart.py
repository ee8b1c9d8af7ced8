"""Draw the README's chart: a paper's numbers and ours on one data set, with intervals over seeds.

python scripts/docs/chart.py
python scripts/docs/chart.py --dataset phones --out phones.svg
"""

import argparse
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from scipy import stats

ROOT = Path(__file__).parents[2]
ROWS = {"ahns_p2": "ahns"}  # a row of the table whose sampler has another name
OURS, PAPER, TEXT = "#1f6f8b", "#d1495b", "#222222"


def measured(csv: Path, dataset: str, metric: str) -> pd.DataFrame:
    """Read one row per sampler at the test-peak epoch, with the half-width of a 95% t interval."""
    table = pd.read_csv(csv).query(
        "dataset == @dataset and metric == @metric and selection == 'test_peak' and n > 1"
    )
    quantile = stats.t.ppf(0.975, table["n"] - 1)
    return table.assign(half=quantile * table["std"] / table["n"] ** 0.5).sort_values("paper")


def headline(table: pd.DataFrame) -> str:
    """Say how many printed numbers lie within our intervals."""
    inside = ((table["paper"] - table["mean"]).abs() <= table["half"]).sum()
    if inside == len(table):
        return f"All {len(table)} printed numbers lie within our 95% intervals"
    return f"{inside} of {len(table)} printed numbers lie within our 95% intervals"


def draw(table: pd.DataFrame, dataset: str, metric: str, out: Path) -> None:
    matplotlib.rcParams |= {
        "svg.hashsalt": "hapens_bench",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": TEXT,
    }
    figure, axes = plt.subplots(figsize=(7.4, 3.9), layout="constrained")
    places = range(len(table))
    axes.errorbar(
        table["mean"],
        places,
        xerr=table["half"],
        fmt="o",
        color=OURS,
        capsize=3,
        label=f"ours: mean and 95% interval, {int(table['n'].min())} seeds",
    )
    axes.plot(table["paper"], places, "D", color=PAPER, mfc="none", label="printed in the paper")
    axes.set_yticks(places, table["sampler"].replace(ROWS))
    axes.set_xlabel(f"{metric} on {dataset.capitalize()}, percent")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False)
    axes.set_title(headline(table), loc="left", fontsize=13, fontweight="bold")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, facecolor="white", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, default=ROOT / "results/tables/ahns_table2.csv")
    parser.add_argument("--dataset", default="tools")
    parser.add_argument("--metric", default="Recall@20")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/tools_recall.svg")
    given = parser.parse_args()
    table = measured(given.csv, given.dataset, given.metric)
    draw(table, given.dataset, given.metric, given.out)


if __name__ == "__main__":
    main()
