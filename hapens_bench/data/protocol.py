"""What a protocol makes of a log or of a published split: filters, parts and fixed negatives."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hapens_bench.config.keys import Key, problems
from hapens_bench.data import filters, splits
from hapens_bench.data.interactions import IntArray, Interactions, Split, sort_pairs, without
from hapens_bench.data.negatives import draw_negatives
from hapens_bench.data.published import Published
from hapens_bench.errors import UserError

LOG = logging.getLogger("hapens_bench.data")
REQUIRED = {
    "split": {
        "kind": Key(str, choices=("random", "chronological", "temporal", "leave_one_out")),
        "test": Key(float, above=0, high=0.9),
        "seed": Key(int, low=0),
    },
    "valid": {"share": Key(float, low=0, high=0.9), "seed": Key(int, low=0)},
    "filter": {
        "min_rating": Key(float, optional=True),
        "k_core": Key(int, low=1, optional=True),
        "min_user": Key(int, low=1, optional=True),
    },
}
OPTIONAL = {
    "candidates": {"negatives": Key(int, low=1), "seed": Key(int, low=0)},
    "subset": {"users": Key(int, low=1, optional=True), "seed": Key(int, low=0)},
    "noise": {
        "users": Key(float, low=0, high=1),
        "most": Key(int, low=1),
        "seed": Key(int, low=0),
    },
    "relabel": {"seed": Key(int, low=0)},
    "judged": {"users": Key(int, low=1), "seed": Key(int, low=0)},
}


OPTIONAL_WITHIN = {"valid": {"per_user": Key(bool)}}


def check_keys(protocol: Mapping[str, Any]) -> None:
    """Check the keys of a protocol that decide about the split.

    Raises:
        UserError: with a sentence for each key that is missing, unknown or out of range.
    """
    optional = {name: keys for name, keys in OPTIONAL.items() if protocol.get(name) is not None}
    sentences = [
        sentence
        for name, keys in (REQUIRED | optional).items()
        for sentence in problems(
            f"protocol.{name}", keys | _within(name, protocol[name]), protocol[name]
        )
    ]
    if sentences:
        raise UserError("; ".join(sentences))


def _within(name: str, section: Mapping[str, Any]) -> dict[str, Key]:
    """Return the optional keys that a section has."""
    return {key: kind for key, kind in OPTIONAL_WITHIN.get(name, {}).items() if key in section}


def split_log(
    name: str, log: Interactions, protocol: Mapping[str, Any], relevant: IntArray | None = None
) -> Split:
    """Return the split of a log after its filters and, if set, a subset of users.

    Raises:
        UserError: when nothing is left, a user has all items, or the protocol does not fit the log.
    """
    dropped: dict[str, int] = {}
    log = _filtered(name, log, protocol, dropped)
    times: Sequence[int] = ()
    if protocol["split"]["kind"] == "temporal":
        rows, shares = len(log), (protocol["valid"]["share"], protocol["split"]["test"])
        log, *times = splits.temporal(log, *shares)
        dropped[f"protocol.split.kind=temporal (users with no row before time {times[0]})"] = (
            rows - len(log)
        )
    if relevant is None:
        log = filters.renumber(log)
    train, valid, test = _parts(log, protocol, times)
    split = Split(
        name,
        log.n_users,
        log.n_items,
        sort_pairs(train),
        sort_pairs(valid),
        sort_pairs(test),
        relevant,
        user_ids=log.user_ids,
        item_ids=log.item_ids,
    )
    split = with_negatives(checked(split), protocol)
    for reason, rows in dropped.items():
        if rows:
            LOG.warning("%s: %s drops %s rows", name, reason, f"{rows:,}")
    return split


def _filtered(
    name: str, log: Interactions, protocol: Mapping[str, Any], dropped: dict[str, int]
) -> Interactions:
    """Return the log after its filters; `dropped` gets the rows that each of them takes out."""
    rules = protocol["filter"]
    steps = {
        "min_rating": filters.at_least_rating,
        "k_core": filters.k_core,
        "min_user": filters.min_per_user,
    }
    for key, step in steps.items():
        if rules[key] is not None:
            rows = len(log)
            log = step(log, rules[key])
            dropped[f"protocol.filter.{key}={rules[key]:g}"] = rows - len(log)
        if key == "min_rating":  # the other filters count pairs, not rows
            log = filters.distinct(log)
    if not len(log):
        raise UserError(f"protocol.filter leaves nothing of {name}")
    subset = protocol.get("subset") or {"users": None}
    if subset["users"] is None:
        return log
    n_users = len(np.unique(log.user))
    if n_users < subset["users"]:
        LOG.warning(
            "%s has %d users that pass the filter, not %d: all are taken",
            name,
            n_users,
            subset["users"],
        )
    return filters.random_users(log, subset["users"], subset["seed"])


def _parts(
    log: Interactions, protocol: Mapping[str, Any], times: Sequence[int]
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the train, validation and test pairs of a filtered log; `times` are `temporal`'s."""
    rule, share = protocol["split"], protocol["valid"]["share"]
    pairs = np.column_stack([log.user, log.item])
    if rule["kind"] == "leave_one_out":
        held, test = splits.leave_one_out(log)
        return pairs[~held & ~test], pairs[held], pairs[test]
    if times and log.time is not None:
        place = np.searchsorted(times, log.time, side="right")
        return pairs[place == 0], pairs[place == 1], pairs[place == 2]
    if rule["kind"] == "random":
        test = splits.random_per_user(log, rule["test"], rule["seed"])
        rest = sort_pairs(pairs[~test])
        held = _carve(rest, protocol["valid"])
    else:
        test = splits.chronological_per_user(log, rule["test"], rule["seed"])
        rest = pairs[~test]
        held = splits.chronological_per_user(log.take(~test), share, rule["seed"])
    return rest[~held], rest[held], pairs[test]


def _carve(train: IntArray, rule: Mapping[str, Any]) -> splits.Mask:
    """Mark the random validation part of train: a share of all pairs, or of those of each user."""
    carve = splits.carve_from_each_user if rule.get("per_user") else splits.carve_validation
    return carve(train, rule["share"], rule["seed"])


def keep_published(name: str, read: Published, protocol: Mapping[str, Any]) -> Split:
    """Return a published split as it is; second copies of its held-out pairs leave train.

    Where it has no validation part, one is drawn from train: one random pair of each user for
    leave-one-out, else the protocol's share.

    Raises:
        UserError: when a user has all items.
    """
    split = checked(_published(name, read, protocol))
    return with_negatives(split, protocol, read.negatives)


def _published(name: str, read: Published, protocol: Mapping[str, Any]) -> Split:
    test = sort_pairs(read.test)
    train = without(sort_pairs(read.train), test, read.n_items)
    if read.valid is not None:
        valid = without(sort_pairs(read.valid), test, read.n_items)
        train = without(train, valid, read.n_items)
    else:
        if protocol["split"]["kind"] == "leave_one_out":
            held = splits.one_per_user(train, protocol["valid"]["seed"])
        else:
            held = _carve(train, protocol["valid"])
        train, valid = train[~held], train[held]
    return Split(
        name,
        read.n_users,
        read.n_items,
        train,
        valid,
        test,
        user_ids=read.user_ids,
        item_ids=read.item_ids,
    )


def with_negatives(
    split: Split, protocol: Mapping[str, Any], published: IntArray | None = None
) -> Split:
    """Return the split with the fixed negatives of candidate ranking, where the protocol has it.

    They are the published lists where those have the wanted shape, else drawn with its seed.
    """
    rule = protocol.get("candidates")
    if rule is None:
        return split
    shape = split.n_users, int(rule["negatives"])
    if published is None or published.shape != shape:
        known = np.concatenate([split.train, split.valid, split.test])
        published = draw_negatives(known, split.n_users, split.n_items, shape[1], int(rule["seed"]))
    return replace(split, negatives=published)


def relabelled(split: Split, seed: int) -> Split:
    """Return the split with one random train pair fewer for each user with at least two.

    These pairs are drawn as negatives and known to be false ones.
    """
    out = splits.one_per_user(split.train, seed)
    return replace(split, train=split.train[~out], relabelled=split.train[out])


def checked(split: Split) -> Split:
    """Return the split.

    Raises:
        UserError: when a user has interacted with all items, so that no negative can be drawn.
    """
    counts = np.bincount(split.full_train[:, 0], minlength=split.n_users)
    if counts.max(initial=0) >= split.n_items:
        raise UserError(
            f"user {int(counts.argmax())} of {split.name} has interacted with all "
            f"{split.n_items} items, so there is nothing to draw as a negative; "
            "filter out such users or use more items"
        )
    return split
