"""Draw a table's measured rows as the SVG of a terminal.

python scripts/draw_table.py results/tables/ahns_table2.csv tools docs/images/ahns_table2.svg
"""

import sys

import pandas as pd
from rich.console import Console
from rich.table import Table


def main(csv: str, dataset: str, out: str) -> None:
    table = pd.read_csv(csv).query("dataset == @dataset")
    shown = Table(title=f"{dataset}, MF: the paper and this suite (percent, mean ± std over seeds)")
    for name in ("sampler", "selection", "n"):
        shown.add_column(name)
    metrics = list(dict.fromkeys(table["metric"]))
    for metric in metrics:
        shown.add_column(f"{metric} paper", justify="right", style="dim")
        shown.add_column("ours", justify="right", style="bold")
    for (sampler, selection), rows in table.groupby(["sampler", "selection"], sort=False):
        cells = [sampler, selection, str(rows["n"].iloc[0])]
        for metric in metrics:
            row = rows[rows["metric"] == metric].iloc[0]
            spread = "" if pd.isna(row["std"]) else f" ± {row['std']:.2f}"
            cells += [f"{row['paper']:.2f}", f"{row['mean']:.2f}{spread}"]
        shown.add_row(*cells)
    console = Console(record=True, width=118)
    console.print(shown)
    console.save_svg(out, title="hapens table ahns_table2")


if __name__ == "__main__":
    main(*sys.argv[1:])
