"""The contract of each sampler: how it is configured, and a slow, obvious version of its rule.

A reference gets plain numbers: the positive's score, the pool's scores, the trial's keys. It returns the places in the pool
of the K negatives.
"""

import math


def rns(pos: float, cand: list[float], keys: dict) -> list[int]:
    return [0]


def dns(pos: float, cand: list[float], keys: dict) -> list[int]:
    return [max(range(len(cand)), key=lambda m: cand[m])]


def ahns(pos: float, cand: list[float], keys: dict) -> list[int]:
    target = keys["beta"] * math.pow(pos + keys["alpha"], keys["p"] + 1)
    return [min(range(len(cand)), key=lambda m: abs(cand[m] - target))]


# sampler's YAML: (the rule, values of the per-trial keys for three trials)
CASES = {
    "rns": (rns, {}),
    "dns": (dns, {}),
    "ahns": (ahns, {"alpha": [1.0, 0.5, 0.1], "beta": [0.1, 0.4, 1.0], "p": [-2, -2, -3]}),
    "ahns_p1": (ahns, {"alpha": [1.0, 0.5, 0.1], "beta": [0.1, 0.5, 0.9], "p": [-1, -1, -1]}),
}
