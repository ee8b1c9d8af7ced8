"""Would more tuning of the baseline have closed the gap? What the trials that were run say, and nothing beyond them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from hapens_bench.tune.budget_curves import weights

RESAMPLES = 2000


def gaps(frame: pd.DataFrame, curves: pd.DataFrame, in_order: bool = False) -> pd.DataFrame:
    """Compare the budget curves of all pairs of samplers on a data set, a row for each pair and number of trials n.

    Columns: baseline, method, n; `baseline_value` and `method_value`, the two curves at n; `gap`, method less baseline, with `low`
    and `high`, its 95% bootstrap interval: the trials of each sampler are drawn anew with replacement, and the curve of each draw is
    worked out. (The best of all N trials cannot be exceeded by a draw, so at n = N the interval says how much hangs on single
    trials, and is no test.) There is none where trials follow from each other (`in_order`). `reached_at` is the least number of
    trials at which the baseline's curve is at the method's value at n, nothing where it is not within the trials tried;
    `baseline_rise` what the last quarter of its trials brought the baseline.
    """
    values = {
        str(name): part["value"].to_numpy(dtype=float)
        for name, part in frame.groupby("sampler", sort=False)
    }
    curve = {
        str(name): part["expected"].to_numpy()
        for name, part in curves.groupby("sampler", sort=False)
    }
    drawn = (
        {} if in_order else {name: _resampled(name, np.nan_to_num(v)) for name, v in values.items()}
    )
    parts = []
    for a, b in permutations(curve, 2):
        N = len(curve[a])
        found = pd.DataFrame(
            {
                "dataset": frame["dataset"].iloc[0],
                "baseline": a,
                "method": b,
                "n": np.arange(1, N + 1),
            }
        )
        found["baseline_value"], found["method_value"], found["gap"] = (
            curve[a],
            curve[b],
            curve[b] - curve[a],
        )
        found[["low", "high"]] = (
            np.nan if in_order else np.quantile(drawn[b] - drawn[a], [0.025, 0.975], axis=0).T
        )
        first = np.searchsorted(curve[a], curve[b] - 1e-12)  # curves never fall
        found["reached_at"] = np.where(first < N, first + 1, np.nan)
        found["baseline_rise"] = (
            curve[a][-1] - curve[a][N - 1 - last_quarter(N)] if N > 1 else np.nan
        )
        parts.append(found)
    columns = ["dataset", "baseline", "method", "n"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _resampled(name: str, values: np.ndarray) -> np.ndarray:
    """Give the budget curves of bootstrap draws of a sampler's trials, a row each; its own draws, whatever it is compared with."""
    drawn = np.random.default_rng([*name.encode()]).choice(values, (RESAMPLES, len(values)))
    return np.asarray(np.sort(drawn, axis=1) @ weights(len(values)).T)


def last_quarter(N: int) -> int:
    """Give how many trials are the last quarter of N."""
    return -(-N // 4)


def answers(pairs: pd.DataFrame, baseline: str, monitor: str) -> list[str]:
    """Say for each method what more tuning of the baseline would have done, as far as the trials tell."""
    mine = pairs[pairs["baseline"] == baseline]
    return [_answer(part, monitor) for _, part in mine.groupby("method", sort=False)]


def _answer(part: pd.DataFrame, monitor: str) -> str:
    end = part.iloc[-1]
    a, b, N = end["baseline"], end["method"], int(end["n"])
    theirs, own, gap = (100 * end[key] for key in ("method_value", "baseline_value", "gap"))
    span = f" [{100 * end['low']:+.2f}, {100 * end['high']:+.2f}]" if pd.notna(end["low"]) else ""
    both = f"{b} {theirs:.2f}, {a} {own:.2f} ({monitor} on validation, percent)"
    head = f"{end['dataset']}, {N} trials each: {both}, gap {gap:+.2f}{span}."
    if gap <= 0:
        return f"{head} There is no gap for {a} to close."
    worth = part.loc[part["reached_at"].notna(), "n"].max()
    equal = (
        f"they are worth {worth:.0f} of {b}'s"
        if pd.notna(worth)
        else f"one trial of {b} is worth more"
    )
    text = f"{head} {a} does not reach {theirs:.2f} within its {N} trials ({equal})"
    if N == 1:
        return f"{text}; one trial says nothing of more."
    rise, k = 100 * end["baseline_rise"], last_quarter(N)
    trials = f"its last {k} trials" if k > 1 else "its last trial"
    if rise < 0.005:
        return f"{text}; {trials} brought it nothing, so nothing here says that more tuning would close the gap."
    return f"{text}; {trials} brought it {rise:+.2f}, so it still rises, and what more tuning would bring is open."
