"""Would more tuning of the baseline have closed the gap? What the trials say, and no more."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from hapens_bench.tune.budget_curves import weights

RESAMPLES = 2000


def gaps(frame: pd.DataFrame, curves: pd.DataFrame, in_order: bool = False) -> pd.DataFrame:
    """Compare the budget curves of all pairs of samplers on a data set.

    There is a row for each pair and number of trials n. Columns: baseline, method, n;
    `baseline_value` and `method_value`, the two curves at n; `gap`, method minus baseline, with its
    95% bootstrap interval `low` and `high`: each sampler's trials are resampled with replacement,
    and each resample has its own curve. No resample can exceed the best of all N trials, so at
    n = N the interval shows how much hangs on single trials and is not a test. There is no interval
    where trials depend on earlier ones (`in_order`). `reached_at` is the least number of trials at
    which the baseline's curve reaches the method's value at n, missing if it never does.
    `baseline_rise` is what the last quarter of its trials brought the baseline.
    """
    values = {
        str(name): trials["value"].to_numpy(dtype=float)
        for name, trials in frame.groupby("sampler", sort=False)
    }
    curve = {
        str(name): rows["expected"].to_numpy()
        for name, rows in curves.groupby("sampler", sort=False)
    }
    drawn = (
        {} if in_order else {name: _resampled(name, np.nan_to_num(v)) for name, v in values.items()}
    )
    pairs = []
    for a, b in permutations(curve, 2):
        N = len(curve[a])
        pair = pd.DataFrame(
            {
                "dataset": frame["dataset"].iloc[0],
                "baseline": a,
                "method": b,
                "n": np.arange(1, N + 1),
            }
        )
        pair["baseline_value"], pair["method_value"], pair["gap"] = (
            curve[a],
            curve[b],
            curve[b] - curve[a],
        )
        pair[["low", "high"]] = (
            np.nan if in_order else np.quantile(drawn[b] - drawn[a], [0.025, 0.975], axis=0).T
        )
        first = np.searchsorted(curve[a], curve[b] - 1e-12)  # curves never fall
        pair["reached_at"] = np.where(first < N, first + 1, np.nan)
        pair["baseline_rise"] = (
            curve[a][-1] - curve[a][N - 1 - last_quarter(N)] if N > 1 else np.nan
        )
        pairs.append(pair)
    columns = ["dataset", "baseline", "method", "n"]
    return pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(columns=columns)


def _resampled(name: str, values: np.ndarray) -> np.ndarray:
    """Return the budget curves of a sampler's bootstrap resamples, which its name alone seeds."""
    drawn = np.random.default_rng([*name.encode()]).choice(values, (RESAMPLES, len(values)))
    return np.asarray(np.sort(drawn, axis=1) @ weights(len(values)).T)


def last_quarter(N: int) -> int:
    """Return how many trials are the last quarter of N."""
    return -(-N // 4)


def answers(pairs: pd.DataFrame, baseline: str, monitor: str) -> list[str]:
    """Return a sentence for each method: what more tuning of the baseline would have done."""
    mine = pairs[pairs["baseline"] == baseline]
    return [_answer(pair, monitor) for _, pair in mine.groupby("method", sort=False)]


def _answer(pair: pd.DataFrame, monitor: str) -> str:
    end = pair.iloc[-1]
    a, b, N = end["baseline"], end["method"], int(end["n"])
    theirs, ours, gap = (100 * end[key] for key in ("method_value", "baseline_value", "gap"))
    span = f" [{100 * end['low']:+.2f}, {100 * end['high']:+.2f}]" if pd.notna(end["low"]) else ""
    both = f"{b} {theirs:.2f}, {a} {ours:.2f} ({monitor} on validation, percent)"
    head = f"{end['dataset']}, {N} trials each: {both}, gap {gap:+.2f}{span}."
    if gap <= 0:
        return f"{head} There is no gap for {a} to close."
    worth = pair.loc[pair["reached_at"].notna(), "n"].max()
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
        return (
            f"{text}; {trials} brought it nothing, "
            "so nothing here says that more tuning would close the gap."
        )
    return (
        f"{text}; {trials} brought it {rise:+.2f}, "
        "so it still rises, and what more tuning would bring is open."
    )
