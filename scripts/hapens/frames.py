"""The tables of the experiments on HAPENS, from their finished runs."""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from hapens_bench.analysis.replicates import Replicates, compare
from hapens_bench.analysis.statistics import holm
from hapens_bench.analysis.tables.activity import deciles
from hapens_bench.data.noise import noisy_users
from hapens_bench.launch.job import Job, load_split
from hapens_bench.runs.archive import listed

SELECTION = "valid_refit"
RESAMPLES = 2000  # of the users, for intervals


def levels(job: Job, statistic: str) -> np.ndarray:
    """Return the level that a job's stage one measured for each user.

    Shape:
        returns: [U]
    """
    assert job.prerequisite is not None
    return job.prerequisite.folder.read_arrays("hardness")[statistic]


def mean_over_seeds(jobs: list[Job], read: Callable[[Job], np.ndarray]) -> np.ndarray:
    return np.mean([read(job) for job in jobs], axis=0)


def mean_levels(jobs: list[Job], statistic: str) -> np.ndarray:
    return mean_over_seeds(jobs, lambda job: levels(job, statistic))


def split_by(jobs: list[Job], key: Callable[[Job], str]) -> dict[str, list[Job]]:
    return {name: list(group) for name, group in itertools.groupby(sorted(jobs, key=key), key)}


def by_dataset(jobs: list[Job]) -> dict[str, list[Job]]:
    return split_by(jobs, lambda job: job.config["dataset"]["name"])


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> dict[str, float]:
    """Return a statistic of users and its 95% bootstrap interval; rows are resampled."""
    generator = np.random.default_rng(0)
    drawn = [
        statistic(values[generator.integers(0, len(values), len(values))]) for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": statistic(values), "low": low, "high": high}


def spearman(pairs: np.ndarray) -> float:
    return float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def oracle(jobs: list[Job]) -> pd.DataFrame:
    """Tabulate each user's best M by validation metric against her level.

    Users for whom all M do equally well are left out.
    """
    rows = []
    for dataset, here in by_dataset(jobs).items():
        personal = [job for job in here if job.config["sampler"]["M"] is None]
        fixed = split_by(
            [job for job in here if job not in personal],
            lambda job: f"{job.config['sampler']['M']:05g}",
        )
        M = np.array([float(name) for name in fixed])
        scores = [
            mean_over_seeds(group, lambda job: job.folder.read_arrays("hardness")["validation"])
            for group in fixed.values()
        ]
        score, h = np.stack(scores), mean_levels(personal, "min")
        best = score == score.max(0)
        use = np.isfinite(score).all(0) & np.isfinite(h) & ~best.all(0)
        log_m = (best * np.log2(M)[:, None]).sum(0)[use] / best.sum(0)[use]
        key = {"dataset": dataset, "n": int(use.sum())}
        rows.append(
            key
            | {"what": "Spearman of log M* and h_u"}
            | interval(np.column_stack([log_m, h[use]]), spearman)
        )
        decile = deciles(h[use])
        for k in range(1, 11):
            inside = decile == k
            name = {"what": f"decile {k}", "h": float(h[use][inside].mean())}
            rows.append(key | {"n": int(inside.sum())} | name | interval(log_m[inside], np.mean))
        for m, values in zip(M, score, strict=True):
            rows.append(
                key | {"what": f"DNS({m:g}), all users", "value": float(np.nanmean(values))}
            )
    return pd.DataFrame(rows)


def compared(jobs: list[Job], key: str) -> pd.DataFrame:
    """Tabulate each value of a key against the first, in percent.

    Means over seeds, and paired tests over seeds and over users, Holm-corrected.
    """
    rows = []
    for dataset, here in by_dataset(jobs).items():
        metric = here[0].config["protocol"]["monitor"]
        settings = {
            name: Replicates([listed(job.folder) for job in group])
            for name, group in split_by(here, lambda job: str(job.config["sampler"][key])).items()
        }
        base = next(iter(settings))
        for name, setting in settings.items():
            summary = setting.summary(SELECTION, metric) or {"n": 0, "mean": np.nan, "std": np.nan}
            row = {"dataset": dataset, "metric": metric, key: name}
            row |= {column: summary[column] for column in ("n", "mean", "std")}
            if name != base:
                tests = compare(settings[base], setting, SELECTION, metric)
                for over, test in zip(("seeds", "users"), tests, strict=True):
                    row[f"{base} less this, over {over}"] = test.difference
                    row[f"low over {over}"], row[f"high over {over}"] = test.low, test.high
                    row[f"p over {over}"] = test.p
            rows.append(row)
    frame = pd.DataFrame(rows)
    for over in ("seeds", "users"):  # Holm's correction is over all data sets together
        tested = frame.get(f"p over {over}", pd.Series(dtype=float)).dropna()
        frame.loc[tested.index, f"corrected p over {over}"] = holm(tested.tolist())
    return frame


def tail(jobs: list[Job]) -> pd.DataFrame:
    """Tabulate mean and lower tail of min_i q_u(i) and of the mean q (AUC) over users.

    After the worst-case stage one (A) and after plain BPR (F).
    """
    rows = []
    for dataset, here in by_dataset(jobs).items():
        parts = split_by(here, lambda job: job.config["sampler"]["reading"])
        for statistic in ("min", "q10", "mean"):
            both = [mean_levels(parts[name], statistic) for name in ("A", "F")]
            values = np.stack(both, 1)[np.isfinite(both[0])]
            quantiles = {f"quantile {q}": q for q in (0.01, 0.05, 0.1, 0.25, 0.5)}
            for name, of in {"mean": None, **quantiles}.items():

                def difference(x: np.ndarray, of: float | None = of) -> float:
                    return float(
                        np.subtract(*(x.mean(0) if of is None else np.quantile(x, of, axis=0)))
                    )

                a, f = values.mean(0) if of is None else np.quantile(values, of, axis=0)
                row = {
                    "dataset": dataset,
                    "statistic": statistic,
                    "over users": name,
                    "worst case": a,
                    "BPR": f,
                }
                rows.append(row | interval(values, difference))
    return pd.DataFrame(rows)


def noise(jobs: list[Job]) -> pd.DataFrame:
    """Tabulate levels and test metric with and without false records.

    For the users who get false records, and for the others.
    """
    rows = []
    for dataset, here in by_dataset(jobs).items():
        parts = split_by(here, lambda job: str(float(job.config["protocol"]["noise"]["users"])))
        clean = load_split(parts["0.0"][0].config)
        noisy = next(group for name, group in parts.items() if name != "0.0")
        rule, metric = noisy[0].config["protocol"]["noise"], noisy[0].config["protocol"]["monitor"]
        hit = np.isin(np.arange(clean.n_users), noisy_users(clean, rule["users"], rule["seed"]))
        for what in ("h_u", metric):

            def read(job: Job, what: str = what, n: int = clean.n_users) -> np.ndarray:
                if what == "h_u":
                    return levels(job, "min")
                frame = job.folder.read_frame("users").query(f"selection == '{SELECTION}'")
                return frame.set_index("user")[what].reindex(range(n)).to_numpy()

            before, after = (mean_over_seeds(group, read) for group in (parts["0.0"], noisy))
            for group, inside in (("noisy users", hit), ("others", ~hit)):
                use = inside & np.isfinite(before) & np.isfinite(after)
                row = {"dataset": dataset, "what": what, "users": group, "n": int(use.sum())}
                row |= {"clean": float(before[use].mean()), "with noise": float(after[use].mean())}
                rows.append(row | interval(after[use] - before[use], np.mean))
    return pd.DataFrame(rows)


def confounders(jobs: list[Job]) -> pd.DataFrame:
    """Tabulate how much of the levels' ranks activity and popularity explain (rank regression).

    Activity is the number of a user's train items, popularity their mean popularity.
    """
    rows = []
    for dataset, here in by_dataset(jobs).items():
        split = load_split(here[0].config)
        users, items = split.train.T
        popularity = np.bincount(items, minlength=split.n_items)
        count = np.bincount(users, minlength=split.n_users)
        use = count > 0
        mean_popularity = (
            np.bincount(users, weights=popularity[items], minlength=split.n_users)[use] / count[use]
        )
        explanations = {"|S_u|": count[use], "mean popularity": mean_popularity}
        shared = split_by(here, lambda job: job.config["sampler"]["level"])["min"]
        for statistic in ("min", "q10", "median", "mean", "probability"):
            h = stats.rankdata(mean_levels(shared, statistic)[use])
            ranks = [stats.rankdata(values) for values in explanations.values()]
            X = np.column_stack([np.ones(len(h)), *ranks])
            rest = h - X @ np.linalg.lstsq(X, h, rcond=None)[0]
            key = {"dataset": dataset, "statistic": statistic, "n": len(h)}
            rows.append(key | {"what": "R2 of both", "value": 1 - rest.var() / h.var()})
            for name, values in explanations.items():
                rows.append(
                    key
                    | {"what": f"Spearman with {name}"}
                    | interval(np.column_stack([values, h]), spearman)
                )
    return pd.DataFrame(rows)
