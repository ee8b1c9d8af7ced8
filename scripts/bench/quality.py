"""Measure how long each system trains until its lists are as good as those of a converged RNS.

    HAPENS_MIRROR=<folder of data files> python scripts/bench/quality.py
        [--dataset tools phones ml-1m] [--systems "ours: SL" ...] [--search]

The goal is 95%, 99% and 100% of the test Recall@20 that RNS on MF converges to in the archived runs
of the AHNS table. Systems and their eight settings are in `quality.yaml`. `--search` tries all of
them on the validation part and writes `quality_settings.csv`: the one that reaches 99% of RNS's
converged validation Recall@20 after the least processor time (which other load disturbs less than
the clock) is chosen or, where none does, the one with the best Recall@20. A setting is given up
when it is slower than the best before it, and of a closed form, whose time does not depend on the
setting, the first that reaches it is taken. The timed run takes the chosen ones, seed 0, and trains
each once on all of train, on --threads threads, one after the other.

The clock runs while a model trains, from before its initial values are drawn (ours, implicit) or
from after that (RecBole, LightFM). It stands still while the model is evaluated, by the same code
for all: whenever 5% more time has passed, at the next step (ours, RecBole) or epoch (implicit,
LightFM, iALS). Imports, loading, compiling, a first call on a few pairs, and putting the pairs into
a library's own structures are not timed (`setup` has the last). Having reached the goal, a run ends
once it has gone on for twice the seconds of its best quality; else after --cap seconds.

Prints, and writes `quality.csv`, row by row, `quality_curves.csv`, `quality.provenance.json` and
`quality.svg` into --out. Libraries are measured where their environments exist (`make rivals`).
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from machine import Record, describe
from quality_figure import draw
from quality_runs import Goal, Run, ours, rival

from hapens_bench.kernels import cpu

SHARES = (0.95, 0.99, 1.0)
HERE = Path(__file__).parent


def trained(
    run: Run, system: Mapping[str, Any], setting: Any, threads: int
) -> tuple[Run, str | None]:
    """Train a system with a setting; return the run, and a reason if there is none."""
    if "library" in system:
        given = {**system.get("fixed", {}), **setting}
        return run, rival(run, system["library"], given, threads)
    cpu.set_threads(threads)
    ours(run, [*system.get("fixed", []), *setting])
    return run, None


def search(goal: Goal, name: str, system: Mapping[str, Any], args: Any) -> list[dict[str, Any]]:
    """Try the eight settings on validation; return a row for each."""
    rows: list[dict[str, Any]] = []
    limit = 2.0 * args.cap

    def done(run: Run) -> bool:
        return run.first(SHARES[1]) is not None or run.curve[-1]["cpu"] > limit

    for n, setting in enumerate(system["settings"]):
        run, reason = trained(Run(goal, done, 1.2), system, setting, args.threads)
        row = {"dataset": goal.dataset, "system": name, "number": n, "setting": words(setting)}
        if reason:
            print(f"  {name:14} {reason}")
            return [{**row, "note": reason}]
        hit = run.first(SHARES[1])
        if hit:
            limit = min(limit, hit["cpu"])
        at = {} if hit is None else {key: hit[key] for key in ("cpu", "epochs")}
        rows.append({**row, "best": run.best, "trained_cpu": run.curve[-1]["cpu"], **at})
        print(f"  {name:14} {at.get('cpu', float('nan')):8.3f} {run.best:.4f} {row['setting']}")
        sys.stdout.flush()
        if hit and system.get("closed"):  # its time does not depend on the setting
            break
    reached = [row for row in rows if "cpu" in row]
    best = min(reached, key=lambda r: r["cpu"]) if reached else max(rows, key=lambda r: r["best"])
    for row in rows:
        row["chosen"] = row is best
    return rows


def timed(goal: Goal, name: str, system: Mapping[str, Any], n: int, args: Any) -> tuple[Any, Run]:
    """Train a system once with setting number n; return its row, and the run."""

    def done(run: Run) -> bool:
        now = run.curve[-1]["seconds"]
        best = next(row["seconds"] for row in run.curve if row["quality"] == run.best)
        reached = run.best >= goal.quality
        return now >= args.cap or (reached and now >= 2 * best)

    setting = system["settings"][n]
    run, reason = trained(Run(goal, done, 1.05), system, setting, args.threads)
    row = {"dataset": goal.dataset, "system": name, "kind": system["kind"]}
    row["setting"] = words(setting)
    if reason:
        return {**row, "note": reason}, run
    for share in SHARES:
        hit = run.first(share)
        row[f"seconds_{share:.0%}"] = hit["seconds"] if hit else None
        row[f"cpu_{share:.0%}"] = hit["cpu"] if hit else None
        row[f"epochs_{share:.0%}"] = hit["epochs"] if hit else None
    last = {key: run.curve[-1][key] for key in ("seconds", "cpu", "epochs")}
    more = {"best": run.best, "goal": goal.quality, "setup": run.setup, "version": run.version}
    return {**row, **last, **more}, run


def words(setting: Any) -> str:
    """Return a setting as one string."""
    if isinstance(setting, Mapping):
        return " ".join(f"{key}={value}" for key, value in setting.items())
    return " ".join(setting)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    systems = yaml.safe_load((HERE / "quality.yaml").read_text())
    parser.add_argument("--dataset", nargs="*", default=["tools", "phones", "ml-1m"])
    parser.add_argument("--systems", nargs="*", choices=systems, default=list(systems))
    parser.add_argument("--search", action="store_true", help="choose the settings, and stop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cap", type=float, default=60, help="seconds of training at most")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    (search_all if args.search else time_all)(systems, args)


def search_all(systems: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Search settings; rows of other data sets and systems stay in the file."""
    path = HERE / "quality_settings.csv"
    for dataset in args.dataset:
        goal = Goal(dataset, "held")
        print(f"{dataset}: RNS converges to a validation Recall@20 of {goal.quality:.4f}")
        for name in args.systems:
            new = pd.DataFrame(search(goal, name, systems[name], args))
            if path.exists():
                old = pd.read_csv(path)
                other = (old["dataset"] != dataset) | (old["system"] != name)
                new = pd.concat([old[other], new], ignore_index=True)
            new.to_csv(path, index=False, float_format="%.5g")


def time_all(systems: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Time every system with the settings that were chosen."""
    settings = pd.read_csv(HERE / "quality_settings.csv")
    settings = settings[settings["chosen"].eq(True)].set_index(["dataset", "system"])["number"]
    cpu.set_threads(args.threads)
    machine = describe("cpu")
    record = Record(args.out / "quality", machine, cap=args.cap)
    curves: list[dict[str, Any]] = []
    for dataset in args.dataset:
        goal = Goal(dataset, "full")
        print(f"{dataset}: RNS converges to a test Recall@20 of {goal.quality:.4f}")
        for name in args.systems:
            if (dataset, name) not in settings.index:
                print(f"  {name:20} has no chosen setting: --search")
                continue
            row, run = timed(goal, name, systems[name], int(settings[dataset, name]), args)
            record.add(row)
            curves += [{"dataset": dataset, "system": name, **point} for point in run.curve]
            shown = (row.get(f"seconds_{share:.0%}") for share in SHARES)
            reached = "".join(f"{s:9.3f}" if s else "    never" for s in shown)
            rest = f"best {row['best']:.4f}" if "best" in row else row["note"]
            print(f"  {name:20}{reached} s  {rest}", flush=True)
    frame = pd.DataFrame(curves)
    frame.to_csv(args.out / "quality_curves.csv", index=False, float_format="%.5g")
    draw(record.frame, frame, machine, args.out / "quality.svg")
    print(table(record.frame))


def table(rows: pd.DataFrame) -> str:
    """Return the seconds to 95%, 99% and 100% as a table in Markdown, for docs/performance.md."""
    datasets = list(dict.fromkeys(rows["dataset"]))
    lines = [f"| | {' | '.join(datasets)} |", "| --- |" + " --- |" * len(datasets)]
    for name in dict.fromkeys(rows["system"]):
        cells = []
        for dataset in datasets:
            found = rows[(rows["dataset"] == dataset) & (rows["system"] == name)]
            columns = [f"seconds_{share:.0%}" for share in SHARES]
            if found.empty or "best" not in found or found["best"].isna().all():
                cells.append("not measured")
                continue
            seconds = found[columns].iloc[0]
            told = [f"{s:.2g}" if s == s else "–" for s in seconds.astype(float)]
            cells.append(f"{', '.join(told)} ({100 * found['best'].iloc[0]:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
