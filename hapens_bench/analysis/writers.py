"""Tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from hapens_bench.analysis.cells import Cell


def to_markdown(title: str, header: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Write a Markdown table."""
    rows = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)]
    return "\n".join([f"# {title}", "", *rows, "", *notes, ""])


def to_latex(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a LaTeX table for the booktabs package."""
    swaps = {"%": r"\%", "_": r"\_", "±": r"$\pm$", "–": "--", "Δ": r"$\Delta$", "&": r"\&", "#": r"\#"}

    def row(line: Sequence[str]) -> str:
        return " & ".join("".join(swaps.get(c, c) for c in text) for text in line) + r" \\"

    columns = "lll" + "r" * (len(header) - 3)
    body = [row(header), r"\midrule", *map(row, lines)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{''.join(swaps.get(c, c) for c in title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def notes(filled: Sequence[Cell], seeds: int) -> list[str]:
    """Say how to read the table, and give the command of every cell that has not been run."""
    lines = [
        "Percent, mean ± standard deviation over n seeds. `test_peak` is the best epoch on test, trained on all of train (what the "
        "authors' code reports); `valid` is the best epoch on a held-out 10% of train, trained on the other 90%; `valid_refit` is "
        "that epoch, trained on all of train. `!`: a run was best in its last epoch (not converged). Δ% is relative to the paper.",
    ]
    missing = [cell for cell in filled if not cell.runs]
    if missing:
        lines += ["", "Not run yet:", "", "```"]
        lines += [f"python -m hapens_bench -m {' '.join(c.overrides)} 'seed=range({seeds})'" for c in missing]
        lines += ["```"]
    return lines
