"""Splits of a log: small pure functions that mark the rows of a part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hapens_bench.data.interactions import IntArray, Interactions, Split, sort_pairs
from hapens_bench.errors import UserError
from hapens_bench.rng import GAMMA, mix

Mask = NDArray[np.bool_]


def random_per_user(log: Interactions, test: float, seed: int) -> Mask:
    """Mark floor(test * n_u + 1/2) random rows of each user as test, but never all of them.

    Shape:
        -> [N] bool.
    """
    noise = np.random.default_rng(seed).random(len(log))
    return _last_share(log, noise, test)


def chronological_per_user(log: Interactions, test: float, seed: int) -> Mask:
    """Mark each user's latest floor(test * n_u + 1/2) rows as test, but never all.

    Rows of equal time are ordered by a hash of (seed, user, item): at random, but equally in every
    part of the log and for every order of the source, which might reveal the outcome of an
    interaction.

    Shape:
        -> [N] bool.

    Raises:
        UserError: when the log has no times.
    """
    return _last_share(log, _time(log), test, tie_order(log, seed))


def tie_order(log: Interactions, seed: int) -> IntArray:
    """Return for each row output user * I + item of a seed's SplitMix64 stream (see `rng`).

    Shape:
        -> [N] int64; rows of the same pair have the same number.
    """
    key = mix(torch.tensor([seed]) * GAMMA)
    hashed: IntArray = mix(
        key + torch.from_numpy(log.user * log.n_items + log.item) * GAMMA
    ).numpy()
    return hashed


def leave_one_out(log: Interactions) -> tuple[Mask, Mask]:
    """Mark each user's latest row as test and the one before it as validation.

    Users with fewer than three rows stay in train.

    Raises:
        UserError: when the log has no times.
    """
    place, count = _places(log, _time(log))
    enough = count[log.user] >= 3
    return enough & (place == count[log.user] - 2), enough & (place == count[log.user] - 1)


def temporal(log: Interactions, valid: float, test: float) -> tuple[Interactions, int, int]:
    """Return two times after which the log is validation and test, for all users alike.

    The last `test` of all rows, and of the rows before them the last `valid`, are at or after those
    times; rows of equal time stay together, so a part may be larger. Users without a row before the
    first of the two times are left out: a model knows nothing of them.

    Returns:
        The rows of the other users, the first time of validation and the first of test.

    Raises:
        UserError: when the log has no times, or nothing is left for train or test.
    """
    time = np.sort(_time(log))
    first_test = _time_at(time, test)
    before = time[time < first_test]
    first_valid = _time_at(before, valid) if valid and len(before) else first_test
    known = np.zeros(log.n_users, dtype=bool)
    known[log.user[_time(log) < first_valid]] = True
    kept = log.take(known[log.user])
    if not (_time(kept) >= first_test).any():
        raise UserError(
            "protocol.split.kind=temporal leaves nothing to train on or to test: no user has rows "
            "both before and after the time of the split"
        )
    return kept, first_valid, first_test


def _time_at(time: IntArray, share: float) -> int:
    """Return the time from which on the last share of the sorted times lies."""
    return int(time[min(len(time) - 1, int(np.floor((1 - share) * len(time) + 0.5)))])


def carve_validation(train: IntArray, share: float, seed: int) -> Mask:
    """Mark a uniform random share of train pairs as validation, but never all pairs of a user.

    Shape:
        train: [n, 2] -> [n] bool with about share * n marks.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    chosen = np.zeros(len(train), dtype=bool)
    chosen[order[: round(share * len(train))]] = True
    n_users = int(train[:, 0].max(initial=0)) + 1
    left = np.bincount(train[~chosen, 0], minlength=n_users)
    emptied = np.flatnonzero((left == 0) & (np.bincount(train[:, 0], minlength=n_users) > 0))
    rows = order[np.isin(train[order, 0], emptied)]
    first = np.unique(train[rows, 0], return_index=True)[1]
    chosen[rows[first]] = False  # the first drawn pair of each such user goes back to train
    return chosen


def carve_from_each_user(train: IntArray, share: float, seed: int) -> Mask:
    """Mark max(floor(share * n_u), 1) uniform random pairs of each user, but never all of them.

    Shape:
        train: [n, 2] -> [n] bool.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    by_user = order[np.argsort(train[order, 0], kind="stable")]
    _, start, count = np.unique(train[by_user, 0], return_index=True, return_counts=True)
    held = np.minimum(np.maximum((share * count).astype(np.int64), 1), count - 1)
    place = np.arange(len(train)) - np.repeat(start, count)
    chosen = np.zeros(len(train), dtype=bool)
    chosen[by_user[place < np.repeat(held, count)]] = True
    return chosen


def judge_some(split: Split, n: int, seed: int) -> Split:
    """Return the split that evaluates only n uniform random users of those with test pairs.

    All other pairs are trained on. It is for data where ranking all items for all users takes
    longer than training.
    """
    users = np.unique(split.test[:, 0])
    judged = np.zeros(split.n_users, dtype=bool)
    judged[np.random.default_rng(seed).permutation(users)[:n]] = True
    valid, test = judged[split.valid[:, 0]], judged[split.test[:, 0]]
    train = sort_pairs(np.concatenate([split.train, split.valid[~valid], split.test[~test]]))
    return replace(split, train=train, valid=split.valid[valid], test=split.test[test])


def one_per_user(train: IntArray, seed: int) -> Mask:
    """Mark one uniform random pair of each user who has at least two.

    Shape:
        train: [n, 2] -> [n] bool.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    _, first, count = np.unique(train[order, 0], return_index=True, return_counts=True)
    chosen = np.zeros(len(train), dtype=bool)
    chosen[order[first[count >= 2]]] = True
    return chosen


def _last_share(
    log: Interactions, key: NDArray, share: float, ties: IntArray | None = None
) -> Mask:
    place, count = _places(log, key, ties)
    held = np.minimum(np.floor(share * count + 0.5), np.maximum(count - 1, 0)).astype(np.int64)
    return np.asarray(place >= (count - held)[log.user], dtype=bool)


def _places(
    log: Interactions, key: NDArray, ties: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Return each row's place among its user's rows, by ascending key, and each user's count.

    Equal keys are ordered by `ties`, or as in the source.
    """
    order = np.lexsort((np.arange(len(log)) if ties is None else ties, key, log.user))
    count = np.bincount(log.user, minlength=log.n_users)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    place = np.empty(len(log), dtype=np.int64)
    place[order] = np.arange(len(log)) - start[log.user[order]]
    return place, count


def _time(log: Interactions) -> IntArray:
    if log.time is None:
        raise UserError(
            "this data source has no times, but protocol.split needs them; "
            "use protocol.split.kind=random"
        )
    return log.time
