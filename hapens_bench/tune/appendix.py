"""The paragraph on a comparison that a paper's appendix needs, from what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from hapens_bench.analysis.tables.definition import Cell
from hapens_bench.data.load import Kind, kind_of
from hapens_bench.launch.budget import IntervalSweep, bounds, values
from hapens_bench.launch.job import Config, load_split
from hapens_bench.runs.provenance import git_sha, versions
from hapens_bench.tune.compare import Contest, Found
from hapens_bench.tune.plan import Plan
from hapens_bench.tune.source import source_of

SPLITS = {
    "random": "split at random within each user",
    "chronological": "split by time within each user",
    "leave_one_out": "split into each user's latest interaction for test, the one before it for "
    "validation, and the rest",
}
SELECTIONS = {
    "valid_refit": "is the epoch that is best on the validation part, trained again on all of "
    "train",
    "valid": "is the epoch that is best on the validation part, which is not trained on",
    "test_peak": "is the epoch that is best on test, as published code reports it; it is "
    "optimistic, and nothing was chosen by it",
}
PROPOSED = {
    "random": "scrambled Halton points",
    "tpe": "proposals of TPE",
    "grid": "all points of a grid",
}


def appendix(contest: Contest, plans: Sequence[Plan], found: Found, cells: Sequence[Cell]) -> str:
    """Return the paragraph; the last cell is the new sampler's."""
    config = contest.config
    return " ".join(
        [
            _methods(contest),
            _data(config),
            _epochs(contest),
            *_settings(contest, plans, found, cells[-1]),
            _seeds(cells),
            "Differences between methods are tested over seeds (paired t test) and over users "
            "(sign-flip permutation test on each user's mean over the common seeds), "
            "Holm-corrected over the methods of a metric.",
            *_origin(contest, cells),
        ]
    )


def _methods(contest: Contest) -> str:
    table, model = contest.baselines, contest.config["model"]
    return (
        f"We compare {contest.name} with {len(table.cells)} methods "
        f"({', '.join(cell.sampler for cell in table.cells)}) on {contest.words.dataset}, in the "
        f"setting of {table.definition['title']} (table {table.table} of hapens_bench): model "
        f"{model['name']}" + (f" with {model['D']} dimensions." if "D" in model else ".")
    )


def _data(config: Config) -> str:
    protocol, split = config["protocol"], load_split(config)
    kind = kind_of(config["dataset"], protocol)
    how = SPLITS[protocol["split"]["kind"]]
    if kind is Kind.PUBLISHED:
        how = "as published"
    ranked = "all items but those of the user's train part"
    if protocol["mask"] == "train+valid":
        ranked = "all items but those of the user's train and validation parts"
    if protocol["ranking"] == "candidates":
        ranked = f"the held-out item and {protocol['candidates']['negatives']} negatives a user"
    return (
        f"Under protocol {protocol['name']} the data ({split.n_users:,} users, {split.n_items:,} "
        f"items; {len(split.train):,} train, {len(split.valid):,} validation and "
        f"{len(split.test):,} test interactions; hash {split.data_hash}) are {how}, and {ranked} "
        "are ranked."
    )


def _epochs(contest: Contest) -> str:
    shown = [f"`{name}` {SELECTIONS[name]}" for name in contest.baselines.selections]
    return f"Of the reported epochs, {'; '.join(shown)}."


def _settings(contest: Contest, plans: Sequence[Plan], found: Found, cell: Cell) -> list[str]:
    """Return sentences on how settings were chosen, the others' and the new sampler's."""
    search, name, said = contest.baselines.search, contest.name, []
    trainer = contest.composed(cell.overrides)["trainer"]
    if search:
        n = " and ".join(f"{n} of {experiment}" for experiment, n in search.items())
        said.append(
            f"Every method has the best of {sum(search.values())} trials on the validation part "
            f"({n}), learning rate and L2 included."
        )
    else:
        typed = any(word.startswith("trainer") for word in contest.words.own)
        said.append(
            "The other methods have the settings of conf/tuned/paper: those of their papers or, "
            "where a paper prints none, those that the file there names with their source"
            + (", so budgets are not equal." if plans else ".")
            + " Learning rate "
            f"({trainer['lr']:g}), L2 ({trainer['l2']:g}) and training length of {name} were not "
            "searched" + ("." if typed else ", but are the table's.")
        )
    if found.trials is not None:
        best = found.winner
        tried = " and ".join(
            f"{plan.n_trials} {PROPOSED[plan.settings['algorithm']]} over {_space(plan)}"
            for plan in plans
        )
        pruned = (found.trials["state"] == "pruned").sum()
        said.append(
            f"The settings of {name} are the best of its {len(found.trials)} trials by "
            f"{plans[0].monitor} on the validation part ({tried}; seed {best['seeds']}"
            + (f"; {pruned} were pruned" if pruned else "")
            + f"): {best['setting']}, with {best['value']:.4f}."
        )
    else:
        keys = {k: v for k, v in contest.config["sampler"].items() if k not in ("_target_", "name")}
        words = ", ".join(f"{key}={value}" for key, value in keys.items()) or "it has no keys"
        said.append(f"The settings of {name} were not searched: {words}.")
    if contest.words.own:
        said.append(f"Set for {name} alone: {', '.join(contest.words.own)}.")
    stop = f", until {trainer['patience']} evaluations brought nothing better"
    said.append(
        f"It was trained for at most {trainer['epochs']} epochs, evaluated every "
        f"{trainer['eval_every']}{stop if trainer['patience'] else ''}."
    )
    return said


def _space(plan: Plan) -> str:
    """Return in words what a plan searches."""
    said = []
    for key, sweep in plan.studies[0].space.items():
        if isinstance(sweep, IntervalSweep):
            low, high, log = bounds(key, sweep)
            said.append(f"{key} in [{low:g}, {high:g}]{' (log)' if log else ''}")
        else:
            said.append(f"{key} of {{{', '.join(map(str, values(key, sweep)))}}}")
    return ", ".join(said)


def _seeds(cells: Sequence[Cell]) -> str:
    """Return a sentence on the seeds, naming the methods that have others than most."""
    seeds = {cell.sampler: ", ".join(map(str, sorted(_of(cell, "seed")))) for cell in cells}
    mine = seeds[cells[-1].sampler]
    others = [f"{name}: {text}" for name, text in seeds.items() if text != mine]
    return (
        f"Each method was trained with seeds {mine}"
        + (f" ({'; '.join(others)})" if others else "")
        + "; numbers are means ± sample standard deviations over seeds."
    )


def _origin(contest: Contest, cells: Sequence[Cell]) -> list[str]:
    """Return sentences on code and versions: ours, the archive's, and the sampler's file."""
    here = versions()
    commits = sorted({commit for cell in cells[:-1] for commit in _of(cell, "git_sha")})
    torch = sorted(
        {str(run.get("versions", {}).get("torch")) for cell in cells[:-1] for run in cell.runs}
    )
    said = [
        f"Suite: hapens_bench {here['hapens_bench']} (commit {git_sha()}), Python "
        f"{here['python']}, torch {here['torch']}, numpy {here['numpy']}. The runs of the other "
        f"methods come from its archive (commits {', '.join(commits)}; torch {', '.join(torch)}).",
    ]
    file = source_of(contest.config)
    if file is not None:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        said.append(f"Code of {contest.name}: {file.name}, SHA-256 {digest}.")
    return said


def _of(cell: Cell, key: str) -> set[Any]:
    return {run[key] for run in cell.runs}
